//! How a merchant says that it knows the cardholder.

use serde::{Deserialize, Serialize};

/// How a merchant says that it has verified the cardholder before it asks for a PIN (Equals:
/// `cardholderVerificationMethod`). Nobody here can check it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verification {
    /// By their face.
    BiometricFace,
    /// By a finger.
    BiometricFingerprint,
    /// By their login.
    Login,
    /// By a one-time code.
    Otp,
}

impl Verification {
    /// The method of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "BIOMETRIC_FACE" => Self::BiometricFace,
            "BIOMETRIC_FINGERPRINT" => Self::BiometricFingerprint,
            "LOGIN" => Self::Login,
            "OTP" => Self::Otp,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_has_the_contracts_name() {
        for name in ["BIOMETRIC_FACE", "BIOMETRIC_FINGERPRINT", "LOGIN", "OTP"] {
            let method = Verification::parse(name).unwrap();
            assert_eq!(serde_json::to_value(method).unwrap(), name);
        }
        assert_eq!(Verification::parse("login"), None);
    }
}
