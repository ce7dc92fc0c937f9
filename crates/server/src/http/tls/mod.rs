//! TLS of the listeners: the certificate that each shows, and whom it lets in by theirs.
//!
//! A listener's files are read at the start, and again when they change or when the operator says
//! so. Connections that are open go on with what they were made with; new ones get what is new.
//!
//! **Invariant:** what was read last and is whole is what is used: a new file that is broken,
//! expired or does not fit changes nothing but the log, a figure and a warning of `/readyz`.
//!
//! To add a setting of a listener's TLS: [`Files`], then `read`.

pub(crate) mod shown;
mod validity;

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use cardveil_core::Time;
use cardveil_core::merchant::ClientCertificate;
use cardveil_seal::Secret;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

use crate::http::ListenerKind;

/// A chain of certificates, or the authorities of all partners, is far smaller.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where a listener's TLS is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate and what leads from it to its authority, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM: PKCS #8, PKCS #1 or SEC 1. For its owner's eyes only.
    pub key: PathBuf,
    /// Whether callers show certificates, too.
    pub callers: Callers,
}

/// Whose certificates callers show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callers {
    /// They show none.
    Anyone,
    /// They may show one, and then it must be of these authorities (a PEM file).
    MayShow(PathBuf),
    /// They show one of these authorities, or are not let in.
    MustShow(PathBuf),
}

impl Callers {
    fn authorities(&self) -> Option<&Path> {
        match self {
            Self::Anyone => None,
            Self::MayShow(path) | Self::MustShow(path) => Some(path),
        }
    }
}

/// Why a listener's TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others than its owner can read the key.
    #[error("others can read the key {}", .0.display())]
    Exposed(PathBuf),
    /// There is no certificate in the file, or one that cannot be read.
    #[error("there is no certificate in {}", .0.display())]
    NoCertificate(PathBuf),
    /// There is no private key in the file, or none that can be used.
    #[error("there is no private key in {}", .0.display())]
    NoKey(PathBuf),
    /// The key is another certificate's.
    #[error("the key {} is not that of the certificate {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The certificate's time is over.
    #[error("the certificate {} expired at {at}", path.display())]
    Expired {
        /// Its file.
        path: PathBuf,
        at: Time,
    },
    /// The certificate's time has not come.
    #[error("the certificate {} is good from {at} on only", path.display())]
    NotYet {
        /// Its file.
        path: PathBuf,
        /// From when on.
        at: Time,
    },
    /// TLS does not take them.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// Whether a handshake ended because of the certificate that the caller showed, or should have
/// shown.
pub(crate) fn is_about_certificate(error: &std::io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(
        cause,
        Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_))
    )
}

impl Error {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "the account that serves must be able to read it",
            Self::Exposed(_) => "make it its owner's alone: chmod 600",
            Self::NoCertificate(_) => {
                "it must be PEM: one or more blocks of BEGIN CERTIFICATE, the server's own first"
            }
            Self::NoKey(_) => {
                "it must be PEM, without a passphrase: a block of BEGIN PRIVATE KEY (RSA, EC or Ed25519)"
            }
            Self::Mismatch { .. } => {
                "give the key that the certificate was asked for with; the server's own certificate comes first in its file"
            }
            Self::Expired { .. } => "renew it at its authority",
            Self::NotYet { .. } => "look at the machine's clock, or wait",
            Self::Setup(_) => "look at the form of the certificate, its key and the authorities",
        }
    }
}

/// What was read.
struct Loaded {
    config: Arc<ServerConfig>,
    expires: Time,
    /// Whether the files that are there now are not the ones in use, because they cannot be.
    stale: bool,
}

/// A listener's TLS.
pub struct Tls {
    files: Files,
    loaded: RwLock<Loaded>,
    /// The files as they were when they were last read, well or not.
    seen: Mutex<Seen>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    pub fn load(files: Files, now: Time) -> Result<Self, Error> {
        let seen = Seen::of(&files);
        let (config, expires) = read(&files, now)?;
        Ok(Self {
            files,
            loaded: RwLock::new(Loaded {
                config,
                expires,
                stale: false,
            }),
            seen: Mutex::new(seen),
        })
    }

    /// When the certificate in use is over.
    pub fn expires(&self) -> Time {
        self.read(|loaded| loaded.expires)
    }

    /// Whether the files that are there could not be used, so that those from before are.
    pub fn is_stale(&self) -> bool {
        self.read(|loaded| loaded.stale)
    }

    /// What a new connection is made with.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.read(|loaded| Arc::clone(&loaded.config))
    }

    fn read<T>(&self, take: impl FnOnce(&Loaded) -> T) -> T {
        take(&self.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again: always, or only when they are not as they were or could not be used
    /// then, which time alone may have mended. `None`: there is nothing new to tell.
    fn reload(&self, always: bool, now: Time) -> Option<Result<Time, Error>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let there = Seen::of(&self.files);
        let told = !always && *seen == there;
        if told && !self.is_stale() {
            return None;
        }
        *seen = there;
        let read = read(&self.files, now);
        if told && read.is_err() {
            return None;
        }
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        Some(match read {
            Ok((config, expires)) => {
                *loaded = Loaded {
                    config,
                    expires,
                    stale: false,
                };
                Ok(expires)
            }
            Err(error) => {
                loaded.stale = true;
                Err(error)
            }
        })
    }
}

/// The TLS of each listener; without, it speaks plain HTTP.
#[derive(Clone, Debug, Default)]
pub struct Listeners {
    pub merchant: Option<Arc<Tls>>,
    pub client: Option<Arc<Tls>>,
    pub admin: Option<Arc<Tls>>,
}

impl Listeners {
    /// That of one of them.
    pub const fn of(&self, kind: ListenerKind) -> Option<&Arc<Tls>> {
        match kind {
            ListenerKind::Merchant => self.merchant.as_ref(),
            ListenerKind::Client => self.client.as_ref(),
            ListenerKind::Admin => self.admin.as_ref(),
        }
    }

    /// Those that speak TLS.
    pub(crate) fn present(&self) -> impl Iterator<Item = (ListenerKind, &Arc<Tls>)> {
        ListenerKind::ALL
            .into_iter()
            .filter_map(|kind| Some((kind, self.of(kind)?)))
    }

    /// What an operator should mend.
    pub(crate) fn warnings(&self, now: Time) -> Vec<String> {
        let mut warnings = Vec::new();
        for (kind, tls) in self.present() {
            let mut warn = |code| warnings.push(format!("{code}: {}", kind.as_str()));
            if tls.is_stale() {
                warn("tls_certificate_stale");
            }
            if tls.expires() < now {
                warn("tls_certificate_expired");
            }
        }
        warnings
    }

    /// Reads the files again, all of them or those that changed, and logs what came of it. It reads
    /// files, so it blocks.
    pub fn reload(&self, always: bool, now: Time) {
        for (kind, tls) in self.present() {
            match tls.reload(always, now) {
                None => {}
                Some(Ok(expires)) => tracing::info!(
                    listener = kind.as_str(),
                    certificate.expires = %expires,
                    "the listener's certificate was read again"
                ),
                Some(Err(error)) => tracing::error!(
                    listener = kind.as_str(),
                    %error,
                    hint = error.hint(),
                    "the listener's new certificate cannot be used; the one from before is kept"
                ),
            }
        }
    }
}

/// What tells that a file is another one, or has other bytes.
#[derive(PartialEq, Eq)]
struct Seen([Option<[i64; 5]>; 3]);

impl Seen {
    fn of(files: &Files) -> Self {
        let authorities = files.callers.authorities();
        let paths = [Some(&*files.certificate), Some(&*files.key), authorities];
        Self(paths.map(|path| std::fs::metadata(path?).ok().map(|meta| mark(&meta))))
    }
}

fn mark(meta: &Metadata) -> [i64; 5] {
    [
        meta.dev().cast_signed(),
        meta.ino().cast_signed(),
        meta.size().cast_signed(),
        meta.mtime(),
        meta.mtime_nsec(),
    ]
}

/// Reads the files; tells when the certificate is over, too.
fn read(files: &Files, now: Time) -> Result<(Arc<ServerConfig>, Time), Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (certified, expires) = certified(files, &provider, now)?;
    let verifier = match &files.callers {
        Callers::Anyone => WebPkiClientVerifier::no_client_auth(),
        Callers::MayShow(path) | Callers::MustShow(path) => {
            let roots = Arc::new(authorities(path)?);
            let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
            let builder = match &files.callers {
                Callers::MayShow(_) => builder.allow_unauthenticated(),
                Callers::Anyone | Callers::MustShow(_) => builder,
            };
            let built = builder.build();
            built.map_err(|error| rustls::Error::General(error.to_string()))?
        }
    };
    // TLS 1.2 and 1.3 (PCI DSS 4.2.1): rustls knows no older one.
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if files.callers.authorities().is_some() {
        // A session that is taken up again would not have its certificate checked again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    Ok((Arc::new(config), expires))
}

/// The certificate with its key, which fit.
fn certified(
    files: &Files,
    provider: &CryptoProvider,
    now: Time,
) -> Result<(CertifiedKey, Time), Error> {
    let (chain, expires) = chain(&files.certificate, now)?;
    let key = key(&files.key)?;
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        if matches!(error, rustls::Error::InconsistentKeys(_)) {
            Error::Mismatch {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
            }
        } else if matches!(error, rustls::Error::InvalidCertificate(_)) {
            Error::NoCertificate(files.certificate.clone())
        } else {
            // What remains is a key that it cannot make use of.
            Error::NoKey(files.key.clone())
        }
    })?;
    Ok((certified, expires))
}

fn chain(path: &Path, now: Time) -> Result<(Vec<CertificateDer<'static>>, Time), Error> {
    let none = || Error::NoCertificate(path.to_owned());
    let chain = certificates(path)?;
    let own = chain.first().ok_or_else(none)?;
    let (from, until) = validity::of(own).ok_or_else(none)?;
    let path = path.to_owned();
    if now < from {
        return Err(Error::NotYet { path, at: from });
    }
    if until < now {
        return Err(Error::Expired { path, at: until });
    }
    Ok((chain, until))
}

/// A private key in a PEM file that is its owner's alone.
pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let pem = Secret::new(bytes(path, |meta| {
        if cardveil_seal::is_exposed(meta) {
            return Err(Error::Exposed(path.to_owned()));
        }
        Ok(())
    })?);
    let key = PrivateKeyDer::from_pem_slice(pem.expose());
    key.map_err(|_| Error::NoKey(path.to_owned()))
}

/// The authorities whose certificates are good.
pub(crate) fn authorities(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|_| Error::NoCertificate(path.to_owned()))?;
    }
    Ok(roots)
}

/// What counts of the client certificate in a PEM file; of several, the first.
pub fn client_certificate(path: &Path) -> Result<ClientCertificate, Error> {
    let certificates = certificates(path)?;
    let shown = certificates.first().and_then(shown::of);
    shown.ok_or_else(|| Error::NoCertificate(path.to_owned()))
}

/// One or more certificates in a PEM file.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let none = || Error::NoCertificate(path.to_owned());
    let pem = bytes(path, |_| Ok(()))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let read = read.map_err(|_| none())?;
    if read.is_empty() {
        return Err(none());
    }
    Ok(read)
}

fn bytes(path: &Path, may: impl FnOnce(&Metadata) -> Result<(), Error>) -> Result<Vec<u8>, Error> {
    let unreadable = |source| Error::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    may(&meta)?;
    // Its whole length at once: a buffer that grows leaves copies behind.
    let capacity = usize::try_from(meta.len().min(FILE_BYTES_MAX)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(capacity.saturating_add(1));
    let mut file = file.take(FILE_BYTES_MAX);
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}
