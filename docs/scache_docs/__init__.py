"""The site: pages written by hand in docs/, pages made from the code, and the specification running in the page."""
