//! The names of records.

use crate::digest;

/// The name of a record: its kind, and a digest of its subject, so that a folder listing does not
/// reveal where the user signs in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordName {
    pub(crate) kind: RecordKind,
    digest: String,
}

/// The kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RecordKind {
    /// The tokens of one account at one authorization server for one resource.
    Grant,
    /// The client registration of this installation at one authorization server.
    Registration,
    /// A secret that the user stored by name.
    Secret,
    /// The resource that the user approved for one server, and the audience of its tokens.
    Approval,
}

const SUFFIX: &str = ".sealed";

impl RecordName {
    /// Creates the name of the record about `subject`, whose parts together identify it.
    pub(crate) fn new(kind: RecordKind, subject: &[&str]) -> Self {
        let parts: Vec<_> = subject.iter().map(|part| part.as_bytes()).collect();
        Self {
            kind,
            digest: digest::of_parts(&parts),
        }
    }

    /// `KIND-DIGEST.sealed`.
    pub(crate) fn file_name(&self) -> String {
        format!("{}-{}{SUFFIX}", self.kind.word(), self.digest)
    }

    /// Parses the name of a file. Returns `None` if the file is not a record.
    pub(crate) fn from_file_name(file: &str) -> Option<Self> {
        let (word, digest) = file.strip_suffix(SUFFIX)?.split_once('-')?;
        let kind = RecordKind::from_word(word)?;
        Some(Self {
            kind,
            digest: digest.to_owned(),
        })
    }
}

impl RecordKind {
    fn word(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Registration => "registration",
            Self::Secret => "secret",
            Self::Approval => "approval",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [
            Self::Grant,
            Self::Registration,
            Self::Secret,
            Self::Approval,
        ]
        .into_iter()
        .find(|kind| kind.word() == word)
    }
}
