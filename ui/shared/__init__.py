"""What several pages share: the frame, the choice of a study, progress, tables, words.

What one page alone shows is in that page's folder.
"""
