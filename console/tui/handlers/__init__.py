"""What each action does when it is performed in the Textual app."""
