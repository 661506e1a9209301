"""The import from Edubadges: its files are read into items, and the items are recorded as awards.

A document that cannot be read is an item too, refused with a reason; a reason never holds personal data.
"""
