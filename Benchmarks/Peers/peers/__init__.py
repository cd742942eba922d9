"""Times qcc and other inference runtimes side by side. See README.md."""
