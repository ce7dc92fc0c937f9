//! The courier to receivers with certificates, good ones and others.

use std::sync::Arc;

use cardveil_core::hook::{Answer, Form};
use cardveil_server::courier::{Authorities, SystemResolver, Webhooks};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Got, Setup, delivered, read, webhooks};
use crate::tls::{Authority, acceptor};
use crate::world::CARD_ID;

/// A receiver with a certificate of this authority, which takes one call.
async fn receiver(authority: &Authority) -> (String, JoinHandle<Option<Got>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = acceptor(&authority.server());
    let task = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut stream = tls.accept(tcp).await.ok()?;
        let got = read(&mut stream).await;
        let answer = b"HTTP/1.1 204 x\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream.shutdown().await.unwrap();
        Some(got)
    });
    (format!("https://127.0.0.1:{port}/hooks"), task)
}

/// One that knows this authority besides the system's.
async fn setup(known: &Authority) -> Setup {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authority.pem");
    std::fs::write(&path, &known.certificate).unwrap();
    let webhooks = Webhooks {
        authorities: Authorities::read(&path).unwrap(),
        ..webhooks()
    };
    Setup::with(webhooks, Arc::new(SystemResolver)).await
}

#[tokio::test]
async fn a_receiver_of_an_authority_that_the_operator_names_gets_its_events() {
    let authority = Authority::new();
    let setup = setup(&authority).await;
    let (url, receiver) = receiver(&authority).await;
    setup.subscribe(Form::Standard, &url, None).await;
    setup.moves(CARD_ID, "suspended").await;
    let got = receiver.await.unwrap().unwrap();
    assert!(got.head.starts_with("POST /hooks HTTP/1.1\r\n"));
    assert_eq!(got.to(), "suspended");
    setup.until(delivered).await;
    let world = setup.stop().await;
    assert_eq!(world.counted("cardveil_webhooks_delivered_total").await, 1);
}

#[tokio::test]
async fn a_receiver_of_another_authority_is_told_nothing() {
    let setup = setup(&Authority::new()).await;
    let (url, receiver) = receiver(&Authority::new()).await;
    setup.subscribe(Form::Standard, &url, None).await;
    setup.moves(CARD_ID, "suspended").await;
    assert_eq!(setup.attempted(1).await, Answer::Unreachable);
    assert!(receiver.await.unwrap().is_none());
    setup.stop().await;
}

#[test]
fn a_file_without_a_certificate_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authority.pem");
    assert!(Authorities::read(&path).is_err());
    std::fs::write(&path, "none").unwrap();
    assert!(Authorities::read(&path).is_err());
}
