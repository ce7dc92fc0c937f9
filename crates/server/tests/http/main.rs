//! The HTTP API from outside: the path of a test is the path of the URL, and its actors are types.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy takes it for granted only in functions that are tests"
)]

mod access_log;
mod actors;
mod admin;
mod budgets;
mod certificates;
mod client {
    mod v1 {
        mod challenge;
        mod events;
        mod redeem;
        mod wallet {
            mod eligibility;
        }
    }
}
mod clocks;
mod courier;
mod embed;
mod faults;
mod framing;
mod limits;
mod open_api {
    mod v1 {
        mod card {
            mod active;
            mod list;
            mod pin {
                mod set;
            }
            mod status {
                mod update;
            }
            mod card_no {
                mod detail;
                mod private {
                    mod info;
                }
            }
        }
        mod merchant {
            mod client {
                mod card_no {
                    mod token;
                }
            }
            mod token;
        }
    }
}
mod openapi;
mod permissions;
mod proxies;
mod refusals;
mod sdk;
mod serving;
mod sinks;
mod strangers;
mod tls;
mod v1 {
    mod cards;
    mod client_tokens;
    mod mfa {
        mod sessions;
    }
    mod people {
        mod person_id {
            mod totp;
        }
    }
    pub(crate) mod simulator;
    mod wallet_tokens;
    mod webhooks;
}
mod v2 {
    mod ipaddresses;
    mod cards {
        mod card_id {
            mod access_token;
            mod card;
            mod digital_wallet_token_transitions;
            mod pin;
            mod transition;
            mod wallets;
        }
        mod list;
        mod tokens;
    }
    mod mfa {
        mod sessions;
    }
    mod webhooks;
}
mod webview;
mod world;
