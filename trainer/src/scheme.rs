//! How several teachers' answers reach one or several students.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A way to distil (Yang et al., WSDM 2020, section 4: TMKD and its baselines).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Scheme {
    /// `fine-tune`: gold labels only.
    #[default]
    FineTune,
    /// `1-o-1`: one teacher per head.
    OneOnOne,
    /// `1avg-o-1`: one target per row, the mean of the teachers' logits.
    AverageOnOne,
    /// `m-o-m`: a student per teacher; their ensemble answers.
    ManyOnMany,
    /// `m-o-1`: one student, a copy of the head per teacher; the copies' mean answers.
    ManyOnOne,
    /// `tmkd`: m-o-1 after a first stage on unlabelled pairs, with the same copies.
    Tmkd,
}

impl Scheme {
    pub(crate) const ALL: [Self; 6] =
        [Self::FineTune, Self::OneOnOne, Self::AverageOnOne, Self::ManyOnMany, Self::ManyOnOne, Self::Tmkd];

    /// The name used in files and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::FineTune => "fine-tune",
            Self::OneOnOne => "1-o-1",
            Self::AverageOnOne => "1avg-o-1",
            Self::ManyOnMany => "m-o-m",
            Self::ManyOnOne => "m-o-1",
            Self::Tmkd => "tmkd",
        }
    }

    /// How many copies a head has when `teachers` teachers label it.
    pub fn copies(self, teachers: usize) -> usize {
        match self {
            Self::ManyOnOne | Self::Tmkd => teachers.max(1),
            _ => 1,
        }
    }

    /// How many students are trained when there are `teachers` teachers.
    pub fn students(self, teachers: usize) -> usize {
        if self == Self::ManyOnMany { teachers.max(1) } else { 1 }
    }

    /// Checks that a head's number of teachers makes sense.
    ///
    /// # Errors
    /// A configuration error that says how many are expected.
    pub fn check(self, head: &str, teachers: usize) -> Result<()> {
        let fits = match self {
            Self::FineTune => teachers == 0,
            Self::OneOnOne => teachers <= 1,
            _ => true,
        };
        if fits {
            return Ok(());
        }
        let expected = if self == Self::FineTune { "none" } else { "at most one" };
        Err(Error::config(format!(
            "scheme {self}: {teachers} teachers label head {head:?}, expected {expected}; choose among 1avg-o-1, \
             m-o-m, m-o-1 and tmkd for several",
        )))
    }

    /// The logits that each copy of a head learns, out of the teachers' logits of one row (`None` where a teacher has
    /// not labelled it). `student` is the student's number, for `m-o-m`.
    pub fn targets(self, teachers: &[Option<Vec<f32>>], student: usize) -> Vec<Option<Vec<f32>>> {
        match self {
            Self::FineTune => vec![None],
            Self::OneOnOne => vec![teachers.first().cloned().flatten()],
            Self::AverageOnOne => vec![mean(teachers)],
            Self::ManyOnMany => vec![teachers.get(student).cloned().flatten()],
            Self::ManyOnOne | Self::Tmkd if teachers.is_empty() => vec![None],
            Self::ManyOnOne | Self::Tmkd => teachers.to_vec(),
        }
    }
}

fn mean(teachers: &[Option<Vec<f32>>]) -> Option<Vec<f32>> {
    let present: Vec<&Vec<f32>> = teachers.iter().flatten().collect();
    let first = present.first()?;
    Some((0..first.len()).map(|c| present.iter().map(|t| t[c]).sum::<f32>() / present.len() as f32).collect())
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scheme {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|s| s.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::config(format!("scheme {text:?}, expected one of {names}"))
        })
    }
}

impl TryFrom<String> for Scheme {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Scheme> for String {
    fn from(scheme: Scheme) -> Self {
        scheme.name().to_owned()
    }
}

#[cfg(test)]
mod tests;
