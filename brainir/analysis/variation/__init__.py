"""Variation: which numbers change with time and differ between elements, those of derivatives among them."""
