"""Files that go out to annotators and come back."""
