//! `cardveil mfa`: people's second factors. A secret is shown once, by `enrol`, and by nothing
//! else.

use std::io::BufRead as _;
use std::path::Path;

use anyhow::Context as _;
use cardveil_core::flow::Enrolment;
use cardveil_core::id::{MerchantId, PersonId};
use cardveil_core::mfa::{FactorChange, FactorRefused, Person};
use cardveil_seal::Secret;
use clap::{Args, Subcommand};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde_json::{Value, json};

use crate::deployment::{Deployment, operator};
use crate::print::Yes;
use crate::print::{self, hinted, say};

/// Whose.
#[derive(Args)]
pub(crate) struct Whose {
    /// At which merchant
    #[arg(long)]
    merchant: MerchantId,
    /// Whose
    #[arg(long)]
    person: PersonId,
}

#[derive(Subcommand)]
pub(crate) enum MfaCommand {
    /// Enrol an authenticator app in the place of the one before; its secret is shown this once
    Enrol {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        yes: Yes,
    },
    /// Confirm an app with its first code, which is asked for when it is left out
    Confirm {
        #[command(flatten)]
        whose: Whose,
        /// The code
        #[arg(long)]
        code: Option<String>,
    },
    /// Show what is known of a person, without any secret
    Show {
        #[command(flatten)]
        whose: Whose,
    },
    /// Let a person try again who was wrong too often
    Reset(Whose),
    /// Take the app away
    Remove {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        yes: Yes,
    },
}

/// `cardveil mfa`.
pub(crate) async fn run(config: &Path, command: MfaCommand) -> anyhow::Result<()> {
    let deployment = Deployment::load(config).await?;
    match command {
        MfaCommand::Enrol { whose, yes } => {
            let merchant = deployment.find_merchant(&whose.merchant).await?;
            let known = known(&deployment, &whose).await?;
            if known.is_some_and(|known| app(&known) == "confirmed") {
                yes.confirm(&format!(
                    "The app of {} at {} is good for nothing any more.",
                    whose.person, whose.merchant
                ))?;
            }
            let enrolled = deployment
                .service
                .enrol(&merchant, whose.person, None, &operator())
                .await?;
            shown(&enrolled.map_err(refused)?)
        }
        MfaCommand::Confirm { whose, code } => {
            deployment.find_merchant(&whose.merchant).await?;
            let code = Secret::new(code.map_or_else(ask, Ok)?.into_bytes());
            deployment
                .service
                .confirm(&whose.merchant, whose.person, &code, &operator())
                .await?
                .map_err(refused)?;
            print::done(&view(&deployment, &whose).await?)
        }
        MfaCommand::Show { whose } => print::fields(&view(&deployment, &whose).await?),
        MfaCommand::Reset(whose) => change(&deployment, whose, FactorChange::Reset).await,
        MfaCommand::Remove { whose, yes } => {
            yes.confirm(&format!(
                "The app of {} at {} is taken away.",
                whose.person, whose.merchant
            ))?;
            change(&deployment, whose, FactorChange::Remove).await
        }
    }
}

async fn view(deployment: &Deployment, whose: &Whose) -> anyhow::Result<Value> {
    let known = known(deployment, whose).await?;
    let known = known.ok_or_else(|| refused(FactorRefused::Unavailable))?;
    let time = |at: cardveil_core::Time| at.to_string();
    Ok(json!({
        "merchant": known.merchant,
        "person": known.person,
        "app": app(&known),
        "locked": known.locked(),
        "wrong_codes": known.wrong,
        "paused_until": known.paused_until.map(time),
    }))
}

async fn known(deployment: &Deployment, whose: &Whose) -> anyhow::Result<Option<Person>> {
    Ok(deployment
        .store
        .mfa_person(&whose.merchant, &whose.person)
        .await?)
}

fn app(known: &Person) -> &'static str {
    match &known.totp {
        None => "none",
        Some(totp) if totp.confirmed_at.is_some() => "confirmed",
        Some(_) => "unconfirmed",
    }
}

async fn change(deployment: &Deployment, whose: Whose, change: FactorChange) -> anyhow::Result<()> {
    deployment
        .service
        .change_factor(&whose.merchant, whose.person, change, &operator())
        .await?
        .map_err(refused)?;
    print::done(&view(deployment, &whose).await?)
}

fn shown(enrolled: &Enrolment) -> anyhow::Result<()> {
    let text = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
    let (secret, uri) = (text(&enrolled.secret), text(&enrolled.uri));
    print::object(&json!({ "secret": secret, "uri": uri }), |_| {
        say(
            "shown this once; give it to the person's authenticator app, then `cardveil mfa confirm`:",
        );
        if let Some(code) = qr_code(enrolled.uri.expose()) {
            print::draw(&code);
        }
        print::line(&uri)
    })
}

/// For a phone's camera, with two rows of modules in a row of text. `None` for what no QR code can
/// hold.
fn qr_code(data: &[u8]) -> Option<String> {
    // A screen has no dirt on it, so the least correction, which gives the smallest code.
    let code = QrCode::with_error_correction_level(data, EcLevel::L).ok()?;
    Some(code.render::<Dense1x2>().build())
}

/// The code, from stdin.
fn ask() -> anyhow::Result<String> {
    say("the app's present code:");
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .context("cannot read the code")?;
    Ok(line.trim().to_owned())
}

fn refused(refused: FactorRefused) -> anyhow::Error {
    match refused {
        FactorRefused::Unavailable => hinted(
            "there is no such factor, or it is confirmed already, or it is locked",
            "`cardveil mfa enrol` enrols an app; `mfa reset` unlocks",
        ),
        FactorRefused::WrongCode => hinted(
            "the code is not the app's",
            "check the clocks of the phone and of this machine, and give the present code",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The modules of what is drawn, read back: dark is true.
    fn modules(drawn: &str) -> Vec<Vec<bool>> {
        let mut rows = Vec::new();
        for line in drawn.lines() {
            let halves = |upper: bool| {
                let dark = move |c: char| match c {
                    ' ' => false,
                    '█' => true,
                    '▀' => upper,
                    '▄' => !upper,
                    other => panic!("{other:?} is no module"),
                };
                line.chars().map(dark).collect::<Vec<_>>()
            };
            rows.push(halves(true));
            rows.push(halves(false));
        }
        rows
    }

    #[test]
    fn what_is_drawn_is_the_code_with_its_quiet_zone() {
        let uri = b"otpauth://totp/Shop:775596ae-2624-40af-a9dc-9756110a4a04?secret=GEZDGNBV";
        let rows = modules(&qr_code(uri).unwrap());
        let code = QrCode::with_error_correction_level(uri, EcLevel::L).unwrap();
        let (width, colours) = (code.width(), code.to_colors());
        // ISO/IEC 18004: four light modules on every side. The last row of text may hold one more.
        assert!(rows.len() == width + 8 || rows.len() == width + 9);
        for (y, row) in rows.iter().enumerate() {
            assert_eq!(row.len(), width + 8);
            for (x, dark) in row.iter().enumerate() {
                let within = (4..width + 4).contains(&x) && (4..width + 4).contains(&y);
                let expected = within && colours[(y - 4) * width + x - 4] == qrcode::Color::Dark;
                assert_eq!(*dark, expected, "{x},{y}");
            }
        }
    }

    #[test]
    fn what_no_code_can_hold_is_not_drawn() {
        assert_eq!(qr_code(&[b'a'; 4_000]), None);
    }
}
