"""A hospital's archive (PACS): connections to it, and how to search it, get series and send files."""
