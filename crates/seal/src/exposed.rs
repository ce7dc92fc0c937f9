//! Who can read a file that holds a key.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

/// Whether others than this process can get at a key's file: any access of the group or of others.
///
/// One case apart: a file of root's in a process that is not root's, which its group may read.
/// Service managers hand out secrets so (systemd's `LoadCredential` by an access list, which shows
/// as the group's right; Kubernetes by the pod's `fsGroup`), and the process could not read it
/// otherwise.
pub fn is_exposed(file: &Metadata) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    exposed(file.permissions().mode(), file.uid(), ours)
}

const fn exposed(mode: u32, owner: u32, ours: u32) -> bool {
    let handed_out = owner == 0 && ours != 0;
    let allowed = if handed_out { 0o740 } else { 0o700 };
    mode & 0o777 & !allowed != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_root_hands_out_may_be_read_by_its_group() {
        for (mode, owner, ours, expected) in [
            (0o100_600, 1_000, 1_000, false),
            (0o100_400, 1_000, 1_000, false),
            (0o100_440, 1_000, 1_000, true),
            (0o100_604, 1_000, 1_000, true),
            (0o100_620, 1_000, 1_000, true),
            (0o100_440, 0, 1_000, false),
            (0o100_640, 0, 1_000, false),
            (0o100_460, 0, 1_000, true),
            (0o100_444, 0, 1_000, true),
            (0o100_440, 0, 0, true),
            (0o100_600, 0, 0, false),
        ] {
            assert_eq!(
                exposed(mode, owner, ours),
                expected,
                "{mode:o} {owner} {ours}"
            );
        }
    }
}
