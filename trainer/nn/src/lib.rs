//! Differentiable operators, encoders, heads, losses and optimisers for distilling on candle.
//!
//! - [`Encoder`] is a BERT or MPNet encoder that can be trained (candle-transformers' cannot: its layer norm has no
//!   backward), [`Student`] is an encoder with named classification heads, and both read and write Hugging Face folders.
//! - [`Mode`] says whether dropout is on and whether a graph is recorded.
//! - [`loss`] holds hard and soft losses, [`backward`] turns a loss into [`Gradients`], and [`optim`] applies them.
//! - [`ops`] holds the operators: fast ones for the CPU and for a GPU beside a composite of plain candle operators that
//!   defines them.
//!
//! ```
//! use attar_nn::{Batch, Encoder, EncoderConfig, HeadSpec, Mode, Student, backward, loss, optim};
//! use candle_core::{Device, Tensor};
//! # fn main() -> Result<(), attar_nn::Error> {
//! let device = Device::Cpu;
//! let encoder = Encoder::new(&EncoderConfig::bert(2, 32, 4, 64, 100), 7, &device)?;
//! let mut student = Student::new(encoder);
//! student.add_head(HeadSpec::new("relevance", &["not_relevant", "relevant"]), 7)?;
//! let batch = Batch::new(&[(vec![2, 5, 3, 6, 3], vec![0, 0, 0, 1, 1]), (vec![2, 7, 3], vec![0; 3])], 0, &device)?;
//! let labels = Tensor::new(&[1u32, 0], &device)?;
//! let mut optimizer = optim::Optimizer::new(optim::OptimizerKind::adam_w(), student.parameters())?;
//! for step in 0..3 {
//!     let logits = student.logits(&batch, "relevance", Mode::Train { seed: step })?;
//!     let loss = loss::cross_entropy(&logits[0], &labels, None)?;
//!     let mut gradients = backward(&loss, student.parameters())?;
//!     gradients.clip(1.0)?;
//!     optimizer.step(student.parameters(), &gradients, 1e-3)?;
//! }
//! # Ok(())
//! # }
//! ```

mod batch;
mod config;
mod device;
mod encoder;
mod error;
mod gradients;
mod head;
pub mod loss;
pub mod ops;
pub mod optim;
mod parameters;
mod precision;
mod random;
mod rounding;
pub mod selftest;
mod student;

pub use batch::Batch;
pub use config::{EncoderConfig, EncoderKind};
pub use device::{choose_device, set_threads};
pub use encoder::{Capture, Encoded, Encoder, LayerState, Layers};
pub use error::{Error, ErrorKind, Result};
pub use gradients::{Gradients, backward};
pub use head::HeadSpec;
pub use parameters::{Parameter, Parameters, finish, save_tensors};
pub use precision::Precision;
pub use rounding::Int8Student;
pub use student::Student;

/// Whether a forward pass trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// No dropout, and no graph is recorded: the result has no gradient.
    Eval,
    /// Dropout is on and the graph is recorded. Every mask is a pure function of (seed, operator, element), so that the
    /// same seed repeats the same pass: give each step its own seed.
    Train {
        /// The seed of this pass's dropout masks.
        seed: u64,
    },
}
