//! Teachers, soft labels and distillation: makes students.
