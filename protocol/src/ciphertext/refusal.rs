use ruma::CanonicalJsonObject;

/// What the gate says: what may be stored, or why not.
pub type Verdict<T = CanonicalJsonObject> = Result<T, Refusal>;

/// Why the gate refuses, in a sentence that a person can act on. It never repeats what it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Refusal {
    code: RefusalCode,
    sentence: &'static str,
}

/// The kind of a [`Refusal`], as an errcode of the Matrix specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// `M_FORBIDDEN`: this server does not take it, from anyone.
    Forbidden,
    /// `M_TOO_LARGE`: over a limit.
    TooLarge,
    /// `M_BAD_JSON`: not of the form that the specification asks for.
    BadJson,
    /// `M_INVALID_PARAM`: an identifier or a parameter that cannot be right.
    InvalidParam,
}

impl Refusal {
    pub(super) const fn forbidden(sentence: &'static str) -> Self {
        Self {
            code: RefusalCode::Forbidden,
            sentence,
        }
    }

    pub(super) const fn too_large(sentence: &'static str) -> Self {
        Self {
            code: RefusalCode::TooLarge,
            sentence,
        }
    }

    pub(super) const fn bad_json(sentence: &'static str) -> Self {
        Self {
            code: RefusalCode::BadJson,
            sentence,
        }
    }

    pub(super) const fn invalid(sentence: &'static str) -> Self {
        Self {
            code: RefusalCode::InvalidParam,
            sentence,
        }
    }

    /// The kind of refusal.
    pub const fn code(&self) -> RefusalCode {
        self.code
    }

    /// Plain English, for the `error` field of the answer.
    pub const fn sentence(&self) -> &'static str {
        self.sentence
    }
}

impl RefusalCode {
    /// The `errcode` of the answer.
    pub const fn errcode(self) -> &'static str {
        match self {
            Self::Forbidden => "M_FORBIDDEN",
            Self::TooLarge => "M_TOO_LARGE",
            Self::BadJson => "M_BAD_JSON",
            Self::InvalidParam => "M_INVALID_PARAM",
        }
    }

    /// The HTTP status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            Self::TooLarge => 413,
            Self::BadJson | Self::InvalidParam => 400,
        }
    }
}
