"""What Edubadges answers and takes, read into what an import may record: files only, no database.

What cannot be read is an item too, refused with a reason; a reason never holds personal data.
"""
