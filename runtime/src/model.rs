//! A student, opened.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use attar_kernels::Kernel;

use crate::error::{Error, ErrorKind, Result};
use crate::graph::{Plan, Shared};
use crate::info::{HeadInfo, Info};
use crate::memory::Memory;
use crate::network::Network;
use crate::session::Session;

/// Environment variable that forces a kernel by name, for every model that is opened without naming one.
pub const KERNEL_VARIABLE: &str = "ATTAR_KERNEL";

/// A student, opened from a bundle.
///
/// A clone is a handle to the same model. Models are shared between threads; each thread takes its own [`Session`].
#[derive(Clone)]
pub struct Model(Arc<Inner>);

struct Inner {
    shared: Shared,
    heads: Vec<HeadInfo>,
    /// By head, built when it is first asked for.
    plans: Vec<OnceLock<Plan>>,
}

impl Model {
    /// Maps the bundle at `path` and validates its structure; weights are read when they are first used, and never copied.
    ///
    /// Corruption inside weights is not looked for here: [`Model::verify`] does that.
    ///
    /// The file must not be changed or truncated while the model is open: on most systems a truncated map ends the process
    /// (SIGBUS) when the missing part is touched, and changed weights give changed numbers. Replace a bundle by renaming another
    /// file over it, as `attar-quantize` does. Where that cannot be promised, read the file and use [`Model::from_bytes`].
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Bundle`], [`ErrorKind::Version`], [`ErrorKind::Checksum`] (of the header), all naming the
    /// path; [`ErrorKind::Kernel`] if [`KERNEL_VARIABLE`] names none that this processor has.
    pub fn open(path: impl AsRef<Path>) -> Result<Model> {
        let path = path.as_ref();
        let network = Memory::map(path).and_then(|memory| Network::open(memory).map_err(|e| e.at(path.display())))?;
        Model::new(Arc::new(network), kernel_from_environment()?)
    }

    /// Uses a bundle that lies in the executable or was leaked. Align it to 64 bytes: bytes that do not begin on a 4-byte
    /// boundary are copied once ([`Info::copied`] says so).
    ///
    /// # Errors
    /// As [`Model::open`], but for the path.
    pub fn from_static(bytes: &'static [u8]) -> Result<Model> {
        Model::new(Arc::new(Network::open(Memory::Static(bytes))?), kernel_from_environment()?)
    }

    /// Uses a bundle in memory that is given away: a `Vec`, an `Arc<[u8]>`, a map of the caller's, a phone's asset. Bytes that
    /// do not begin on a 4-byte boundary are copied once ([`Info::copied`] says so).
    ///
    /// # Errors
    /// As [`Model::open`], but for the path.
    pub fn from_bytes(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Model> {
        Model::new(Arc::new(Network::open(Memory::Owned(Box::new(bytes)))?), kernel_from_environment()?)
    }

    fn new(network: Arc<Network>, kernel: Kernel) -> Result<Model> {
        let heads: Vec<HeadInfo> = network.layout().heads().iter().map(HeadInfo::from).collect();
        let plans = heads.iter().map(|_| OnceLock::new()).collect();
        Ok(Model(Arc::new(Inner { shared: Shared { network, kernel }, heads, plans })))
    }

    /// The same model, computed with the kernel of that name; what [`Model::kernels`] lists.
    ///
    /// # Errors
    /// [`ErrorKind::Kernel`], listing the ones that this processor has.
    pub fn with_kernel(&self, name: &str) -> Result<Model> {
        Model::new(self.0.shared.network.clone(), kernel_by_name(name)?)
    }

    /// Names of the kernels that this processor can run, the slowest first; `scalar` is always there.
    pub fn kernels() -> Vec<&'static str> {
        Kernel::available().iter().map(Kernel::name).collect()
    }

    /// Name of the kernel that computes this model.
    pub fn kernel(&self) -> &'static str {
        self.0.shared.kernel.name()
    }

    /// Checks every byte of the bundle against its checksums: 2 ms for 23 MB that are in memory.
    ///
    /// # Errors
    /// [`ErrorKind::Checksum`], naming the first tensor whose bytes are not the ones that were written.
    pub fn verify(&self) -> Result<()> {
        let network = self.network();
        Ok(network.layout().verify(network.memory().bytes())?)
    }

    /// What is in the bundle.
    pub fn info(&self) -> Info {
        Info::new(self.network(), &self.0.shared.kernel, self.heads())
    }

    /// The heads, in the bundle's order.
    pub fn heads(&self) -> &[HeadInfo] {
        &self.0.heads
    }

    /// Number of tokens that `text` has, without special tokens. A pair that is read at once has at most
    /// [`Info::max_tokens`], its three special tokens included.
    pub fn count_tokens(&self, text: &str) -> usize {
        let mut ids = Vec::new();
        self.network().parts().tokenizer.encode_into(text, &mut ids);
        ids.len()
    }

    /// A session: the working memory of one caller. Cheap until its first score.
    pub fn session(&self) -> Session {
        Session::new(self.clone())
    }

    pub(crate) fn network(&self) -> &Network {
        &self.0.shared.network
    }

    pub(crate) fn head_index(&self, name: &str) -> Result<usize> {
        self.0.heads.iter().position(|head| head.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.0.heads.iter().map(|head| head.name.as_str()).collect();
            Error::new(ErrorKind::Head, format!("this model has no head {name:?}; it has {}", names.join(", ")))
        })
    }

    pub(crate) fn plan(&self, head: usize) -> Result<&Plan> {
        if let Some(plan) = self.0.plans[head].get() {
            return Ok(plan);
        }
        // Two threads may both build it; it takes microseconds, and one of the two is kept.
        let plan = Plan::new(&self.0.shared, head).map_err(internal)?;
        Ok(self.0.plans[head].get_or_init(|| plan))
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = self.network().layout();
        f.debug_struct("Model")
            .field("architecture", layout.architecture())
            .field("weights", &layout.weights())
            .field("kernel", &self.kernel())
            .finish_non_exhaustive()
    }
}

/// The graph engine's errors: nothing that a bundle or a text can cause.
pub(crate) fn internal(error: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Internal, format!("bug in attar, please report it: {error:#}"))
}

fn kernel_by_name(name: &str) -> Result<Kernel> {
    Kernel::by_name(name).map_err(|e| Error::with_source(ErrorKind::Kernel, e.to_string(), e))
}

fn kernel_from_environment() -> Result<Kernel> {
    match std::env::var(KERNEL_VARIABLE) {
        Ok(name) if !name.is_empty() => kernel_by_name(&name).map_err(|e| e.at(KERNEL_VARIABLE)),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(Error::new(ErrorKind::Kernel, format!("{KERNEL_VARIABLE} is not UTF-8 text")))
        }
        _ => Ok(Kernel::best()),
    }
}
