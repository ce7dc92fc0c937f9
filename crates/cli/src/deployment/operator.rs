//! Who runs the command: what the machine knows, and what the environment claims.
//!
//! The machine knows the account that the process runs as and, where a login set it, the account
//! that the person came in with (the audit system's login uid, which `sudo` and `su` leave as it
//! is). Variables are whatever the caller has put there, so their word is told as a claim.

use cardveil_core::audit::Source;

/// Where the kernel tells the login uid (Linux' audit system; `man 7 audit`).
const LOGIN_UID: &str = "/proc/self/loginuid";
/// No login set it: a service, a container.
const NO_LOGIN: u32 = u32::MAX;
/// The accounts of this machine. One from a directory service has its number only.
const ACCOUNTS: &str = "/etc/passwd";
/// Who claims to be whom, the most telling first.
const CLAIMS: [&str; 3] = ["SUDO_USER", "USER", "LOGNAME"];
/// How long a name may be (`useradd`: 32; directory services have longer ones).
const NAME_MAX: usize = 64;

/// The person at the command line.
pub(crate) fn operator() -> Source {
    let login = std::fs::read_to_string(LOGIN_UID).ok();
    let person = Person {
        uid: rustix::process::getuid().as_raw(),
        login: login.and_then(|text| text.trim().parse().ok()),
        accounts: std::fs::read_to_string(ACCOUNTS).unwrap_or_default(),
        claim: CLAIMS
            .iter()
            .find_map(|name| Some((*name, std::env::var(name).ok()?))),
    };
    Source::operator(person.name())
}

/// What is seen of them.
struct Person {
    uid: u32,
    login: Option<u32>,
    /// The text of [`ACCOUNTS`].
    accounts: String,
    claim: Option<(&'static str, String)>,
}

impl Person {
    /// `cardveil (uid 999), login alice (uid 1000), claimed SUDO_USER=bob`. A claim that says what
    /// the machine knows is left out.
    fn name(&self) -> String {
        let mut name = self.told(self.uid);
        let login = self.login.filter(|uid| *uid != NO_LOGIN);
        if let Some(login) = login.filter(|login| *login != self.uid) {
            name = format!("{name}, login {}", self.told(login));
        }
        let Some((variable, claimed)) = &self.claim else {
            return name;
        };
        let known = [Some(self.uid), login].into_iter().flatten();
        let known: Vec<_> = known.filter_map(|uid| self.account(uid)).collect();
        if known.contains(&&**claimed) {
            return name;
        }
        let claimed = if is_name(claimed) {
            claimed
        } else {
            "(no name)"
        };
        format!("{name}, claimed {variable}={claimed}")
    }

    fn told(&self, uid: u32) -> String {
        match self.account(uid) {
            Some(account) => format!("{account} (uid {uid})"),
            None => format!("uid {uid}"),
        }
    }

    /// The name of this uid (passwd(5)).
    fn account(&self, uid: u32) -> Option<&str> {
        let line = |line: &'_ str| -> Option<u32> { line.split(':').nth(2)?.parse().ok() };
        let found = self.accounts.lines().find(|row| line(row) == Some(uid))?;
        found.split(':').next().filter(|name| is_name(name))
    }
}

/// Whether it can be an account's name, and not words that would be read as ours.
fn is_name(text: &str) -> bool {
    (1..=NAME_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.@-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNTS: &str = "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/sh\n\
         # a comment\ncardveil:x:999:999::/var/lib/cardveil:/usr/sbin/nologin\n";

    fn name(uid: u32, login: Option<u32>, claim: Option<(&'static str, &str)>) -> String {
        let person = Person {
            uid,
            login,
            accounts: ACCOUNTS.to_owned(),
            claim: claim.map(|(variable, name)| (variable, name.to_owned())),
        };
        person.name()
    }

    #[test]
    fn the_operator_is_who_the_machine_knows() {
        assert_eq!(name(999, Some(NO_LOGIN), None), "cardveil (uid 999)");
        assert_eq!(name(1000, Some(1000), None), "alice (uid 1000)");
        let by_sudo = name(999, Some(1000), Some(("SUDO_USER", "alice")));
        assert_eq!(by_sudo, "cardveil (uid 999), login alice (uid 1000)");
        assert_eq!(name(4242, None, None), "uid 4242");
    }

    #[test]
    fn what_the_environment_claims_is_labelled_as_claimed() {
        let told = name(999, Some(1000), Some(("SUDO_USER", "bob")));
        let expected = "cardveil (uid 999), login alice (uid 1000), claimed SUDO_USER=bob";
        assert_eq!(told, expected);
        for hostile in ["alice (uid 0)", "bob, login root", "", "\u{1b}[2K", "a\nb"] {
            let told = name(999, None, Some(("USER", hostile)));
            assert_eq!(told, "cardveil (uid 999), claimed USER=(no name)");
        }
    }
}
