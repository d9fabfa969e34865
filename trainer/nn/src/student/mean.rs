//! The mean of several students' weights.

use std::path::Path;

use candle_core::Device;

use super::Student;
use crate::head::HeadSpec;
use crate::{Error, Layers, Result};

impl Student {
    /// A student whose weights are the mean of those in `folders`: a model soup (Wortsman et al. 2022). Where they went on
    /// from the same weights, it often answers about as well as all of them together, at the cost of one; other students have no useful mean.
    ///
    /// The copies of a head are one in it, their mean (heads of one layer only); temperatures are the geometric means. The order of
    /// `folders` decides that of the heads alone (and rounding).
    ///
    /// # Errors
    /// As [`Student::load`]; [`crate::ErrorKind::Argument`] for no folder, for folders whose heads or encoders differ, and for one that
    /// lacks a tensor.
    pub fn mean(folders: &[&Path], device: &Device) -> Result<Self> {
        let Some((first, others)) = folders.split_first() else {
            return Err(Error::argument("the mean of no students"));
        };
        let heads = Self::heads_of(first)?;
        let wanted: Vec<HeadSpec> = heads.iter().map(|head| HeadSpec { copies: 1, ..head.clone() }).collect();
        let load = |folder: &Path| {
            let student = Self::go_on(folder, &Layers::All, &wanted, 0, device)?;
            // A pooler that is not there begins at random, which is nobody's weight.
            match student.parameters().iter().find(|p| p.fresh) {
                Some(p) => Err(Error::argument(format!("{}: it has no {}", folder.display(), p.name))),
                None => Ok(student),
            }
        };
        let mut mean = load(first)?;
        let mut temperatures: Vec<f64> = heads.iter().map(|head| head.temperature.ln()).collect();
        for (done, folder) in others.iter().enumerate() {
            let differs = |what: &str| {
                Error::argument(format!("{}: {what} than {}, so they have no mean", folder.display(), first.display()))
            };
            let found = Self::heads_of(folder)?;
            if found.len() != heads.len() {
                return Err(differs("other heads"));
            }
            for (head, temperature) in heads.iter().zip(&mut temperatures) {
                let same = found.iter().find(|found| found.name == head.name).ok_or_else(|| differs("other heads"))?;
                *temperature += same.temperature.ln();
            }
            let next = load(folder)?;
            if next.encoder().config().to_json() != mean.encoder().config().to_json() {
                return Err(differs("another encoder"));
            }
            mean.parameters().mix(&next.parameters().snapshot()?, 1.0 / (done + 2) as f64)?;
        }
        for (head, temperature) in heads.iter().zip(temperatures) {
            mean.set_temperature(&head.name, (temperature / folders.len() as f64).exp())?;
        }
        Ok(mean)
    }
}
