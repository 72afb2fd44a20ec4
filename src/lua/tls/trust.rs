//! Whether a chain of certificates would be trusted, apart from the handshake in which it was seen.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;

use super::certificate::Leaf;
use crate::limits;

/// Accepts any certificate, and still demands that the server owns its key.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// For a handshake whose certificate is judged afterwards.
///
/// # Errors
/// If the cryptography lacks something: never with ours.
pub(super) fn any_certificate(alpn: Vec<Vec<u8>>) -> Result<ClientConfig, Error> {
    let provider = provider();
    let any = AnyCertificate(provider.signature_verification_algorithms);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(any))
        .with_no_client_auth();
    config.alpn_protocols = alpn;
    Ok(config)
}

/// Why a chain is not trusted.
pub(super) struct Doubt(Error);

/// `None`: it is trusted for that name.
pub(super) async fn doubt(
    chain: &[CertificateDer<'static>],
    name: &ServerName<'static>,
    extra: Vec<CertificateDer<'static>>,
) -> Option<Doubt> {
    let Some((leaf, others)) = chain.split_first() else {
        return Some(Doubt(Error::NoCertificatesPresented));
    };
    let judge = match judge(extra).await {
        Ok(judge) => judge,
        Err(error) => return Some(Doubt(error)),
    };
    judge
        .verify_server_cert(leaf, others, name, &[], UnixTime::now())
        .err()
        .map(Doubt)
}

thread_local! {
    /// The system's authorities as they were read last: a hundred files, some milliseconds.
    static OF_SYSTEM: RefCell<Option<(Instant, Arc<Verifier>)>> = const { RefCell::new(None) };
}

async fn judge(extra: Vec<CertificateDer<'static>>) -> Result<Arc<Verifier>, Error> {
    let known = OF_SYSTEM.with_borrow(|known| {
        let (read, judge) = known.as_ref()?;
        (read.elapsed() < limits::AUTHORITIES_KEPT).then(|| Arc::clone(judge))
    });
    if let (Some(known), true) = (known, extra.is_empty()) {
        return Ok(known);
    }
    let own = extra.is_empty();
    let read = move || Verifier::new_with_extra_roots(extra, provider());
    let judge = tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| Error::General(error.to_string()))??;
    let judge = Arc::new(judge);
    if own {
        OF_SYSTEM.set(Some((Instant::now(), Arc::clone(&judge))));
    }
    Ok(judge)
}

impl Doubt {
    /// For people.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "errors of another crate, which grow"
    )]
    pub(super) fn told(self, leaf: &Leaf, name: &str) -> String {
        let Error::InvalidCertificate(why) = self.0 else {
            return match self.0 {
                Error::General(text) if text.contains("No CA certificates") => {
                    "this machine has no list of trusted authorities; install ca-certificates"
                        .to_owned()
                }
                other => other.to_string(),
            };
        };
        match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "not valid yet".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("not for {name}, but for {}", leaf.shown_names())
            }
            // Whatever else is wrong with it, nobody vouches for it.
            _ if leaf.self_signed => "self-signed".to_owned(),
            CertificateError::UnknownIssuer => format!(
                "its issuer is not known here ({}); the server may leave out the certificates between",
                leaf.issuer
            ),
            CertificateError::Revoked => "revoked".to_owned(),
            CertificateError::BadSignature => "its signature is wrong".to_owned(),
            other => match other.to_string() {
                text if text.contains("CaUsedAsEndEntity") => {
                    "it is an authority's own certificate, not one for a server".to_owned()
                }
                text => text,
            },
        }
    }
}
