//! The clients behind the requests: one of each kind for the thread, with the connections that they keep.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use mlua::Lua;
use reqwest::{Certificate, Client, ClientBuilder, Proxy, Url, redirect};

use super::phases::{self, LookUp};
use super::{address, check};
use crate::limits;
use crate::lua::address::plain;
use crate::lua::arguments::Named;
use crate::lua::failure::failure;
use crate::lua::fs::read_whole;
use crate::lua::grants::{Grants, Need};
use crate::lua::modules::misuse;

/// What a client cannot change from one request to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    follow: bool,
    insecure: bool,
    ca: Option<PathBuf>,
    proxy: Option<Url>,
}

impl Kind {
    /// # Errors
    /// If an option makes no sense or is not granted.
    pub(super) fn new(
        what: &str,
        lua: &Lua,
        options: &Named,
        grants: &Grants,
    ) -> mlua::Result<Self> {
        let ca = options.value::<String>(lua, "ca")?.map(PathBuf::from);
        if let Some(ca) = &ca {
            grants.check(Need::Read, ca)?;
        }
        let proxy = options.value::<String>(lua, "proxy")?;
        let proxy = proxy.map(|proxy| address(what, &proxy)).transpose()?;
        if let Some(proxy) = &proxy {
            check(grants, proxy)?;
        }
        Ok(Kind {
            follow: options.value(lua, "follow")?.unwrap_or(true),
            insecure: options.value(lua, "insecure")?.unwrap_or(false),
            ca,
            proxy,
        })
    }
}

/// How often an answer may lead elsewhere.
const REDIRECTS: usize = 10;

/// A client, and whose it is: whoever is not confined shares, whoever is has its own, as its redirects are bounded.
struct Kept {
    kind: Kind,
    bounds: Option<Arc<Grants>>,
    client: Client,
}

impl Kept {
    fn is(&self, kind: &Kind, grants: &Arc<Grants>) -> bool {
        let own = match &self.bounds {
            None => !grants.is_confined(),
            Some(bounds) => Arc::ptr_eq(bounds, grants),
        };
        own && self.kind == *kind
    }
}

thread_local! {
    /// The latest at the end.
    static CLIENTS: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

/// Follows where the script may go, and no further.
fn follow(grants: &Arc<Grants>) -> redirect::Policy {
    let grants = Arc::clone(grants);
    redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > REDIRECTS {
            return attempt.error("more than 10 redirects");
        }
        match check(&grants, attempt.url()) {
            Ok(()) => {
                phases::redirected(attempt.url());
                attempt.follow()
            }
            Err(refused) => attempt.error(refused),
        }
    })
}

/// The client of this kind, made at its first use. Proxies of the environment are not used: a check means the address
/// that it names.
///
/// # Errors
/// If the file of authorities cannot be read.
pub(super) async fn client(kind: Kind, grants: &Arc<Grants>) -> mlua::Result<Client> {
    let known = CLIENTS.with_borrow(|clients| {
        let kept = clients.iter().find(|kept| kept.is(&kind, grants))?;
        Some(kept.client.clone())
    });
    if let Some(client) = known {
        return Ok(client);
    }
    let client = build(&kind, grants).await?;
    CLIENTS.with_borrow_mut(|clients| {
        // Dropped, a client closes the connections that it has kept.
        if clients.len() == limits::HTTP_CLIENTS {
            clients.remove(0);
        }
        clients.push(Kept {
            kind,
            bounds: grants.is_confined().then(|| Arc::clone(grants)),
            client: client.clone(),
        });
    });
    Ok(client)
}

async fn build(kind: &Kind, grants: &Arc<Grants>) -> mlua::Result<Client> {
    // A second call finds a provider installed, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let policy = if kind.follow {
        follow(grants)
    } else {
        redirect::Policy::none()
    };
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(policy)
        .tls_danger_accept_invalid_certs(kind.insecure)
        .dns_resolver(Arc::new(LookUp))
        .connector_layer(tower_layer::layer_fn(phases::Timed))
        .pool_max_idle_per_host(limits::HTTP_IDLE_PER_HOST)
        .pool_idle_timeout(limits::HTTP_IDLE)
        .user_agent(concat!("moonkeep/", env!("CARGO_PKG_VERSION")));
    if let Some(proxy) = &kind.proxy {
        let proxy = Proxy::all(proxy.clone()).map_err(cannot)?;
        builder = builder.proxy(proxy);
    }
    if let Some(path) = &kind.ca {
        builder = trusting(builder, path.clone()).await?;
    }
    builder.build().map_err(cannot)
}

fn cannot(error: reqwest::Error) -> mlua::Error {
    misuse(format!("http cannot be set up: {error}"))
}

async fn trusting(builder: ClientBuilder, path: PathBuf) -> mlua::Result<ClientBuilder> {
    let shown = path.display().to_string();
    let read = tokio::task::spawn_blocking(move || read_whole(&path)).await;
    let text = read
        .map_err(mlua::Error::external)?
        .map_err(|error| failure(format!("cannot read {shown}: {}", plain(&error))))?;
    match Certificate::from_pem_bundle(&text) {
        Ok(found) if !found.is_empty() => Ok(builder.tls_certs_merge(found)),
        Ok(_) | Err(_) => Err(failure(format!(
            "{shown} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
        ))),
    }
}
