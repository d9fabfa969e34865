//! Which model computes: `--model`, `ATTAR_MODEL`, or the default bundle in the program.

use std::path::Path;

use anyhow::{Result, anyhow};
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

    /// Opens a bundle file, or a bundle in this program by its name, or the default one.
    pub fn open_path(path: Option<&Path>) -> Result<Self> {
        // An empty ATTAR_MODEL is one that isn't set.
        let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else {
            let bundle = attar_models::default().ok_or_else(|| {
                anyhow!("this program was built without a bundle; name one with --model FILE or ATTAR_MODEL")
            })?;
            return Self::built_in(bundle);
        };
        if let Some(bundle) = path.to_str().and_then(attar_models::named).filter(|_| !path.exists()) {
            return Self::built_in(bundle);
        }
        let model = Model::open(path).map_err(|error| match path.exists() {
            true => error.into(),
            false => anyhow!("{error}; bundles in this program: {}", names()),
        })?;
        model.verify().map_err(|error| anyhow!("{}: {error}", path.display()))?;
        Ok(Self { model, name: path.display().to_string() })
    }

    fn built_in(bundle: attar_models::Bundle) -> Result<Self> {
        let model =
            Model::from_static(bundle.bytes).map_err(|error| anyhow!("{} in this program: {error}", bundle.name))?;
        Ok(Self { model, name: bundle.name.to_owned() })
    }
}

/// The names that `--model` takes.
fn names() -> String {
    let names: Vec<&str> = attar_models::BUNDLES.iter().map(|bundle| bundle.name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
