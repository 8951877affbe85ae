"""A canvas of braille dots, 2 × 4 to a cell. A cell has the role of the line that was drawn last in it."""

BASE = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))

SOLID = (1,)
DASHED = (1, 1, 1, 1, 0, 0)
DOTTED = (1, 0, 0)


class Canvas:
    """A canvas of `cols` × `rows` cells, which are `2·cols` × `4·rows` dots. The origin is at the top left."""

    def __init__(self, cols: int, rows: int) -> None:
        self.cols = cols
        self.rows = rows
        self._bits = [bytearray(cols) for _ in range(rows)]
        self._roles: list[list[str]] = [[""] * cols for _ in range(rows)]

    def dot(self, x: int, y: int, role: str) -> None:
        """Sets a dot. A dot outside the canvas is ignored."""
        col, row = x >> 1, y >> 2
        if 0 <= col < self.cols and 0 <= row < self.rows:
            self._bits[row][col] |= DOTS[y & 3][x & 1]
            self._roles[row][col] = role

    def stroke(self, start: tuple[int, int], end: tuple[int, int], role: str, pattern: tuple[int, ...], at: int) -> int:
        """Draws a line (Bresenham), `start` included, in a dash pattern that begins at phase `at`.

        Returns the phase at its end, so that the pattern continues along a polyline.
        """
        (x, y), (x1, y1) = start, end
        dx, dy = abs(x1 - x), -abs(y1 - y)
        step_x, step_y = (1 if x < x1 else -1), (1 if y < y1 else -1)
        error, length = dx + dy, len(pattern)
        while True:
            if pattern[at % length]:
                self.dot(x, y, role)
            if x == x1 and y == y1:
                return at
            at += 1
            twice = 2 * error
            if twice >= dy:
                error += dy
                x += step_x
            if twice <= dx:
                error += dx
                y += step_y

    def cell(self, col: int, row: int) -> tuple[str, str]:
        """Returns the character and the role of a cell; both are empty if no dot is set."""
        bits = self._bits[row][col]
        return (chr(BASE + bits), self._roles[row][col]) if bits else ("", "")

    def heights(self, smooth: int = 5) -> list[int]:
        """Returns the lowest row with a dot within `smooth` columns of each column; `rows` for one without dots."""
        lowest = [
            next((row for row in range(self.rows - 1, -1, -1) if self._bits[row][col]), None)
            for col in range(self.cols)
        ]
        return [
            self.rows
            if here is None
            else max(row for row in lowest[max(0, col - smooth) : col + smooth + 1] if row is not None)
            for col, here in enumerate(lowest)
        ]
