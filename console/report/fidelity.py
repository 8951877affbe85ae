"""Grades of fidelity. Pure functions."""

GREEN = (0.995, 0.92)
AMBER = (0.98, 0.85)
"""Lowest mean cosine and lowest overlap@10 of a grade; anything below AMBER is red."""


def grade_of(cosine: float | None, overlap: float | None) -> str:
    """Grades by both figures, or by the cosine alone if the overlap is unknown; empty without a cosine."""
    if cosine is None:
        return ""
    for grade, (least_cosine, least_overlap) in (("green", GREEN), ("amber", AMBER)):
        if cosine >= least_cosine and (overlap is None or overlap >= least_overlap):
            return grade
    return "red"
