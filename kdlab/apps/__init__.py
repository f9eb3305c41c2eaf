"""What is built on the core and the lab: chapters, interview, distil, serving, classroom, bench."""
