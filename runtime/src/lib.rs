//! Scores questions against passages, and premises against hypotheses, on the device.
//!
//! A [`Model`] is opened from a bundle (an `.attar` file that `attar-quantize` makes): the file is memory-mapped and never
//! copied. A [`Session`] is the working memory of one thread.
//!
//! ```no_run
//! let model = attar::Model::open("student.attar")?;
//! let mut session = model.session().threads(2);
//!
//! let passages = ["The SD card slot is on the underside.", "Roses need sun."];
//! let relevance = session.score_passages("Where is the SD card?", &passages)?;
//!
//! let pair = ("A man plays a guitar.", "Somebody makes music.");
//! let scores = session.score("nli", &[pair])?;
//! println!("{:?} {:?}", model.heads()[0].labels, scores[0].probabilities);
//! # Ok::<(), attar::Error>(())
//! ```
//!
//! Inside, [tract](https://github.com/sonos/tract) runs a graph of four fused operators whose weights are views of the map
//! (`graph`), on the fastest kernel that the processor has; the environment variable `ATTAR_KERNEL` forces one.
#![deny(missing_docs)]

mod error;
mod graph;
mod info;
mod input;
mod memory;
mod model;
mod network;
mod score;
mod session;
mod windows;

pub use attar_bundle::{Architecture, Precision, Rows, Weights};
pub use error::{Error, ErrorKind, Result};
pub use info::{HeadInfo, Info, Part};
pub use model::{KERNEL_VARIABLE, Model};
pub use score::Score;
pub use session::Session;
