"""`lightning report`: result files in; tables, figures and a page out."""
