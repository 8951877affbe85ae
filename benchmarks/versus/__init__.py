"""The guard against regressions: two revisions of this project, side by side in the same rounds."""
