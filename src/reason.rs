//! Why the service refused a sign-in, derived from its texts: for people and reports, never for pacing.
#![forbid(unsafe_code)]

/// Why the service refused a sign-in, if its response tells. Since 1.1.
///
/// For messages to people and for reports only: it is derived from the service's texts, which may
/// change at any time. Decide by `status` and `retryable`. No function returns the name of a reason.
///
/// Always 32 bits wide. Later versions may add numbers: treat an unknown one as
/// `CLOPOS_AUTH_REASON_UNKNOWN`.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The response does not tell, or the status is not REJECTED.
    #[default]
    Unknown = 0,
    /// Client id, client secret or brand is wrong. They belong to the store, whose back office shows
    /// the first two (Add-ons, Open API).
    Credentials = 1,
    /// The integrator id is unknown or disabled: every store of this integration fails, not one. It
    /// belongs to the integrator, who got it from Clopos.
    Integrator = 2,
    /// A test integrator id with a production brand, or the other way round.
    Environment = 3,
    /// The store has switched off its Open API access in its back office (Add-ons, Open API).
    Disabled = 4,
    /// The service found a field of the request missing or empty.
    MissingField = 5,
}

impl Reason {
    /// The reason for a refusal with this HTTP status and these texts: the body's `error`, which is an
    /// identifier or a sentence, and its `message`. The sentences that are known: "Missing client_id,
    /// client_secret, brand, or integrator_id", "Invalid integrator_id", "Integrator is in test mode.
    /// But brand is not in test mode", "Client is disabled", "Invalid credentials".
    pub(crate) fn of(http_status: u16, texts: [Option<&str>; 2]) -> Reason {
        let texts = texts.map(|text| text.unwrap_or_default().to_ascii_lowercase());
        let says_both = |word: &str, other: &str| {
            let mut texts = texts.iter();
            texts.any(|text| text.contains(word) && text.contains(other))
        };
        let says = |words: &str| says_both(words, words);
        if says("test mode") {
            Reason::Environment
        } else if says("missing") {
            Reason::MissingField
        } else if says("invalid integrator") || says_both("integrator", "disabled") {
            Reason::Integrator
        } else if says("disabled") {
            Reason::Disabled
        // A 401 is documented to refuse the store's values, even without a known text.
        } else if says("credentials") || says("authentication_failed") || http_status == 401 {
            Reason::Credentials
        } else {
            Reason::Unknown
        }
    }

    /// What is wrong and who can correct it, for a message.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Reason::Unknown => {
                "check the store's client_id, client_secret and brand and the integrator's \
                 integrator_id, and that all are for test or all for production"
            }
            Reason::Credentials => {
                "client_id or client_secret (the store's back office shows them: Add-ons, Open API) or \
                 brand is wrong"
            }
            Reason::Integrator => {
                "integrator_id is unknown or disabled, for every store; the integrator has to \
                 correct it or ask Clopos"
            }
            Reason::Environment => {
                "integrator_id and brand do not match: one is for test, the other for production"
            }
            Reason::Disabled => {
                "the store has to switch its access on again in its back office (Add-ons, Open API)"
            }
            Reason::MissingField => {
                "client_id, client_secret, brand or integrator_id did not reach it or is blank"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_text_has_its_reason_as_error_or_as_message() {
        let table = [
            (
                400,
                "Missing client_id, client_secret, brand, or integrator_id",
                Reason::MissingField,
            ),
            (400, "Invalid integrator_id", Reason::Integrator),
            (400, "Integrator is disabled", Reason::Integrator),
            (
                200,
                "Integrator is in test mode. But brand is not in test mode",
                Reason::Environment,
            ),
            (
                200,
                "Brand is in test mode. But integrator is not in test mode",
                Reason::Environment,
            ),
            (401, "Client is disabled", Reason::Disabled),
            (403, "Client is disabled", Reason::Disabled),
            (401, "Invalid credentials", Reason::Credentials),
            (400, "authentication_failed", Reason::Credentials),
            (401, "Anything else", Reason::Credentials),
            (400, "Anything else", Reason::Unknown),
            (
                400,
                "Wrong client_id, client_secret, brand or integrator_id",
                Reason::Unknown,
            ),
        ];
        for (http_status, sentence, reason) in table {
            let other = Some("validation_error");
            for texts in [
                [Some(sentence), None],
                [None, Some(sentence)],
                [other, Some(sentence)],
            ] {
                assert_eq!(Reason::of(http_status, texts), reason, "{sentence}");
            }
        }
        assert_eq!(Reason::of(401, [None; 2]), Reason::Credentials);
        assert_eq!(Reason::of(403, [None; 2]), Reason::Unknown);
    }

    #[test]
    fn the_most_specific_of_two_texts_decides() {
        let texts = [Some("authentication_failed"), Some("Client is disabled")];
        assert_eq!(Reason::of(401, texts), Reason::Disabled);
        let texts = [Some("Client is disabled"), Some("Ask your integrator")];
        assert_eq!(Reason::of(401, texts), Reason::Disabled);
    }
}
