//! The calls of the two published descriptions, made by curl as they are written there, with the
//! host and the values in place of their placeholders and nothing else changed.

use std::io::BufRead as _;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::world::string;

/// KeySecure's "Issue PCI Client Access Token".
const KEYSECURE: &str = "curl --request GET \
  --url https://sandbox-openplatform.keysecure.io/open-api/v1/merchant/client/C202605220001/token \
  --header 'Content-Type: application/json' \
  --header 'Api-Key: your_api_key' \
  --header 'Timestamp: 1716307200000' \
  --header 'Access-Token: your_access_token'";

/// Equals Money's "Retrieve an access token for card data and digital wallet operations".
const EQUALS: &str = "curl --request GET \
  --url 'https://api.equalsmoney.com/v2/cards/{cardId}/access-token?accountId={{accountId}}' \
  --header 'Authorization: <api-key>'";

struct Demo {
    child: Child,
    ready: Value,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the demo on ports that are free, trying others where they are not.
fn demo() -> Demo {
    for base in (21_000..21_900).step_by(100) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cardveil"))
            .args(["demo", "--json", "--port-base", &base.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        if let Ok(ready) = serde_json::from_str(&line) {
            return Demo { child, ready };
        }
        let _ = child.wait();
    }
    panic!("no free ports");
}

fn shell(command: &str) -> Value {
    let run = Command::new("sh")
        .args(["-c", &format!("{command} --silent")])
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&run.stderr)
    );
    serde_json::from_slice(&run.stdout).unwrap()
}

pub(crate) fn now_ms() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "the contract asks a caller for its own time"
    )]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis()
        .to_string()
}

#[test]
fn both_published_calls_work_as_written() {
    let demo = demo();
    let of = |name: &str| string(&demo.ready, name);
    let login = shell(&format!(
        "curl --request GET --url {}/open-api/v1/merchant/token \
         --header 'Api-Key: {}' --header 'Timestamp: {}'",
        of("/merchant_url"),
        of("/api_key"),
        now_ms()
    ));
    assert_eq!(login["code"], 0, "{login}");
    let answer = shell(
        &KEYSECURE
            .replace(
                "https://sandbox-openplatform.keysecure.io",
                &of("/merchant_url"),
            )
            .replace("your_api_key", &of("/api_key"))
            .replace("1716307200000", &now_ms())
            .replace("your_access_token", &string(&login, "/data/access_token")),
    );
    assert_eq!(answer["code"], 0, "{answer}");
    assert_eq!(answer["msg"], "Success");
    assert_eq!(answer["data"]["expires_in"], 300);
    assert!(string(&answer, "/data/client_access_token").starts_with("cvt_test_"));

    let answer = shell(
        &EQUALS
            .replace("https://api.equalsmoney.com", &of("/merchant_url"))
            .replace("{cardId}", &of("/cards/0/card_id"))
            .replace("{{accountId}}", &of("/cards/0/account_id"))
            .replace("<api-key>", &of("/equals_api_key")),
    );
    assert_eq!(
        answer.as_object().map(serde_json::Map::len),
        Some(1),
        "{answer}"
    );
    assert!(string(&answer, "/token").starts_with("cvt_test_"));
}
