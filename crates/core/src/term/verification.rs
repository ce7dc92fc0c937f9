//! How a merchant says that it knows the cardholder.

use crate::named;

named! {
    /// How a merchant says that it has verified the cardholder before it asks for a PIN (Equals:
    /// `cardholderVerificationMethod`). Nobody here can check it.
    pub enum Verification {
        BiometricFace = "BIOMETRIC_FACE",
        /// By a finger.
        BiometricFingerprint = "BIOMETRIC_FINGERPRINT",
        Login = "LOGIN",
        /// By a one-time code.
        Otp = "OTP",
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
