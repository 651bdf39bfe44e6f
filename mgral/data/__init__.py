"""Images, boxes and splits: reading them, checking them, drawing some, and keeping their pixels at hand."""
