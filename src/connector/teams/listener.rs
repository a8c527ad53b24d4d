//! The webhook listener's TLS: handshakes beside each other, so that one that dawdles holds up nobody; certificates are
//! read again when their files change.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use axum::serve::Listener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

use super::config::ListenerTls;
use crate::listen::{Connection, Limited};

/// Time for a handshake; the platform's own patience is shorter.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(30);

/// A listener that speaks TLS.
#[derive(Debug)]
pub(super) struct Tls {
    ready: mpsc::Receiver<(TlsStream<Connection>, SocketAddr)>,
    address: SocketAddr,
    accepting: tokio::task::JoinHandle<()>,
}

impl Tls {
    /// Accepts on `inner` with this certificate. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What is wrong with the certificate or its key, or what the socket says.
    pub(super) fn new(inner: Limited, files: ListenerTls) -> Result<Tls, String> {
        let address = inner.local_addr().map_err(|error| format!("cannot read the listener's address: {error}"))?;
        let config = Arc::new(RwLock::new(Arc::new(load(&files)?)));
        let (sender, ready) = mpsc::channel(64);
        let accepting = tokio::spawn(accept(inner, config, files, sender));
        Ok(Tls { ready, address, accepting })
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Listener for Tls {
    type Io = TlsStream<Connection>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The task ends only with this listener.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn accept(
    mut inner: Limited,
    config: Arc<RwLock<Arc<ServerConfig>>>,
    files: ListenerTls,
    ready: mpsc::Sender<(TlsStream<Connection>, SocketAddr)>,
) {
    let mut look = tokio::time::interval(LOOK);
    let mut known = changed(&files);
    loop {
        tokio::select! {
            (connection, address) = inner.accept() => {
                let current = Arc::clone(&config.read().unwrap_or_else(std::sync::PoisonError::into_inner));
                let ready = ready.clone();
                tokio::spawn(async move {
                    let handshake = TlsAcceptor::from(current).accept(connection);
                    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, handshake).await {
                        let _ = ready.send((stream, address)).await;
                    }
                });
            }
            _ = look.tick() => {
                let now = changed(&files);
                if now != known {
                    match load(&files) {
                        Ok(fresh) => {
                            *config.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(fresh);
                            tracing::info!("webhook listener: took up the new certificate");
                            known = now;
                        }
                        // Half-written perhaps: looked at again, and the old one goes on.
                        Err(why) => tracing::warn!("webhook listener: the certificate has changed and cannot be used: {why}"),
                    }
                }
            }
            () = ready.closed() => return,
        }
    }
}

fn changed(files: &ListenerTls) -> [Option<SystemTime>; 2] {
    [&files.certificate_file, &files.key_file]
        .map(|file| std::fs::metadata(file).and_then(|found| found.modified()).ok())
}

/// Reads certificate chain and key.
pub(super) fn load(files: &ListenerTls) -> Result<ServerConfig, String> {
    let shown = |path: &Path| path.display().to_string();
    let (certificate, key) = (shown(&files.certificate_file), shown(&files.key_file));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&files.certificate_file)
        .map_err(|error| format!("`tls_certificate_file`: cannot read {certificate}: {error}"))?
        .collect();
    let chain = chain.map_err(|error| format!("`tls_certificate_file`: {certificate} is damaged: {error}"))?;
    if chain.is_empty() {
        return Err(format!("`tls_certificate_file`: {certificate} holds no certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(&files.key_file)
        .map_err(|error| format!("`tls_private_key_file`: cannot use {key}: {error}"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| format!("`tls_certificate_file` and `tls_private_key_file` do not go together: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> ListenerTls {
        ListenerTls { certificate_file: folder.join("c.pem"), key_file: folder.join("k.pem") }
    }

    fn write_pair(files: &ListenerTls) -> String {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("certificate");
        std::fs::write(&files.certificate_file, made.cert.pem()).expect("written");
        std::fs::write(&files.key_file, made.signing_key.serialize_pem()).expect("written");
        made.cert.pem()
    }

    #[test]
    fn what_is_wrong_with_the_files_is_said() {
        let folder = tempfile::tempdir().expect("folder");
        let files = files(folder.path());
        assert!(load(&files).expect_err("absent").contains("cannot"));
        write_pair(&files);
        load(&files).expect("a pair");
        std::fs::write(&files.certificate_file, "nothing").expect("written");
        assert!(load(&files).expect_err("empty").contains("holds no certificate"));
        write_pair(&files);
        let certificate = std::fs::read(&files.certificate_file).expect("read");
        write_pair(&files);
        std::fs::write(&files.certificate_file, certificate).expect("written");
        assert!(load(&files).expect_err("foreign key").contains("do not go together"));
    }

    #[tokio::test]
    async fn a_client_that_trusts_the_certificate_is_served() {
        let folder = tempfile::tempdir().expect("folder");
        let files = files(folder.path());
        let pem = write_pair(&files);
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
        let patience = crate::listen::Patience { idle: HANDSHAKE, crowded: HANDSHAKE };
        let tls = Tls::new(Limited::new(socket, 4, patience), files).expect("listener");
        let port = Listener::local_addr(&tls).expect("address").port();
        let pages = axum::Router::new().route("/", axum::routing::get(|| async { "served" }));
        tokio::spawn(async move { axum::serve(tls, pages).await });
        // Somebody who opens a connection and says nothing holds up nobody.
        let _silent = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
        let authority = reqwest::Certificate::from_pem(pem.as_bytes()).expect("pem");
        let client = crate::connector::web::builder(&[authority], "https").no_proxy().build().expect("client");
        let answer = client.get(format!("https://localhost:{port}/")).send().await.expect("answer");
        assert_eq!(answer.text().await.expect("text"), "served");
    }
}
