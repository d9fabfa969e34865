//! Which model computes: `--model`, `ATTAR_MODEL`, or the bundle in the program.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use attar::Model;

use crate::args::StudentArgs;

/// A model, and what to call it.
#[derive(Debug)]
pub(crate) struct Student {
    pub model: Model,
    pub name: String,
}

impl Student {
    /// Opens the model that the command line asks for, with its checksums verified if it is a file.
    pub fn open(args: &StudentArgs) -> Result<Self> {
        let mut student = Self::open_path(args.model.as_deref())?;
        if let Some(kernel) = &args.kernel {
            student.model = student.model.with_kernel(kernel)?;
        }
        Ok(student)
    }

    /// Opens a bundle file, or the bundle in this program.
    pub fn open_path(path: Option<&Path>) -> Result<Self> {
        // An empty ATTAR_MODEL is one that isn't set.
        let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else {
            return Self::built_in();
        };
        let model = Model::open(path)?;
        model.verify().map_err(|error| anyhow!("{}: {error}", path.display()))?;
        Ok(Self { model, name: path.display().to_string() })
    }

    fn built_in() -> Result<Self> {
        if attar_models::DEFAULT.is_empty() {
            bail!("this program was built without a bundle; name one with --model FILE or ATTAR_MODEL");
        }
        let model = Model::from_static(attar_models::DEFAULT)
            .map_err(|error| anyhow!("the bundle in this program: {error}"))?;
        Ok(Self { model, name: attar_models::DEFAULT_NAME.to_owned() })
    }
}
