//! The .attar file format: validated views of a memory-mapped student.
