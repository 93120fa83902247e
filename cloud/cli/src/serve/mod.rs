//! `iottly serve`: the cloud without devices.

use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use iottly_cloud::edge::EdgeConfig;
use iottly_cloud::mails::MailConfig;
use iottly_cloud::{Cloud, CloudConfig, KeyPlaces};
use iottly_web::http::Server;
use iottly_web::{Front, OidcSettings, WebServices, first_login_link};
use ipnet::IpNet;
use serde_json::json;
use tokio::net::TcpListener;

mod certificate;
mod listeners;
pub(crate) mod mail;
mod provider;

use certificate::Served;
use listeners::{Listeners, Wanted};

use crate::cloud_builder;
use crate::compiled;
use crate::exit::Failure;
use crate::keys::Keys;
use crate::listen::{self, Stop};

#[derive(Args)]
pub(crate) struct Options {
    /// Folder of the cloud's data
    #[arg(long)]
    data: PathBuf,
    /// PostgreSQL database in place of a SQLite file in the folder
    #[arg(
        long,
        value_name = "postgres://…",
        env = "IOTTLY_DATABASE_URL",
        hide_env_values = true
    )]
    database_url: Option<String>,
    /// Address of everything behind TLS: dashboard, REST API, repositories of releases, MQTT, and MQTT over WebSocket
    /// (/mqtt) [default: 0.0.0.0:8443 unless --http or --mqtt is given]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Name or address under which devices and browsers reach the cloud, for the certificate that it makes itself; may
    /// be given several times. This machine's own name and address are added
    #[arg(long = "name", value_name = "HOST", conflicts_with = "tls_cert")]
    names: Vec<String>,
    /// Address of the REST API and the dashboard without TLS, for this machine or a proxy; with --tls-cert, over TLS
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Address of MQTT without TLS, for this machine [default: 127.0.0.1:1883 if --http is given without --listen]
    #[arg(long, value_name = "ADDR")]
    mqtt: Option<SocketAddr>,
    /// Allow --http and --mqtt without TLS on addresses that other machines can reach
    #[arg(long)]
    insecure: bool,
    /// Maximum number of requests per minute of a token or user; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 6000)]
    rate_limit: u32,
    /// Network that webhooks may reach, in addition to the public internet; may be given several times
    #[arg(long = "webhook-allow", value_name = "CIDR")]
    webhook_allow: Vec<IpNet>,
    /// Allow webhooks to https: addresses only
    #[arg(long)]
    webhook_https_only: bool,
    #[command(flatten)]
    keys: Keys,
    /// Certificate chain (PEM) for TLS [default: made by an authority of the cloud's own, in the folder tls of its
    /// data]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Key (PEM) of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Restrict login cookies to HTTPS, because a proxy in front of the cloud serves it over HTTPS. Implied
    /// by --tls-cert
    #[arg(long)]
    behind_https: bool,
    /// Network of proxies in front of this cloud whose statements about a client's address are trusted: the
    /// PROXY protocol (versions 1 and 2, MQTT and HTTP), X-Forwarded-For and Forwarded (HTTP); may be given
    /// several times
    #[arg(long = "trusted-proxy", value_name = "CIDR")]
    trusted_proxy: Vec<IpNet>,
    /// Address of the metrics, which need no token [default: no metrics]
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    #[command(flatten)]
    provider: provider::Options,
    #[command(flatten)]
    mail: mail::Options,
    /// Print one line of JSON when the cloud is up
    #[arg(long)]
    json: bool,
}

/// Interval of the warning that something is served without encryption.
const WARN_EVERY: Duration = Duration::from_secs(3600);

pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let listeners = listeners::plan(Wanted {
        listen: options.listen,
        http: options.http,
        mqtt: options.mqtt,
        certificate: options.tls_cert.is_some(),
        insecure: options.insecure,
    })?;
    let provider = options.provider.settings()?;
    let mails = options.mail.settings()?;
    Ok(serve(&options, listeners, provider, mails).await?)
}

async fn serve(
    options: &Options,
    listeners: Listeners,
    provider: Option<OidcSettings>,
    mails: Option<MailConfig>,
) -> anyhow::Result<()> {
    let mut stop = Stop::new()?;
    let keys = options.keys.places(&options.data)?;
    let secure = bound(listeners.secure).await?;
    let plain = bound(listeners.http).await?;
    let metrics = bound(options.metrics).await.context("metrics")?;
    let served = match (
        &secure,
        options.tls_cert.as_deref().zip(options.tls_key.as_deref()),
    ) {
        (None, _) => None,
        (Some(_), Some((cert, key))) => Some(Served::given(cert, key)?),
        (Some((_, address)), None) => Some(Served::own(&keys.tls(), &options.names, *address)?),
    };
    let cloud = Cloud::start(config(options, listeners, keys, mails)?).await?;
    let mut web = WebServices::new(cloud.services());
    if let Some(provider) = provider {
        web = web.with_provider(provider)?;
    }
    if let (Some((_, address)), Some(served)) = (&secure, &served) {
        let fingerprint = served.fingerprint.parse();
        let fingerprint = fingerprint.context("cannot read the certificate's fingerprint")?;
        web = web.behind(Front {
            port: address.port(),
            fingerprint: served.is_pinned.then_some(fingerprint),
        });
    }
    let mut servers = Vec::new();
    let (https, http) = (secure.as_ref(), plain.as_ref());
    let base = https
        .map(|(_, address)| ("https", *address))
        .or(http.map(|(_, address)| ("http", *address)));
    let login = match base {
        Some((scheme, address)) => {
            let base = format!("{scheme}://{}", reachable(address, &options.names));
            let link = first_login_link(&web, &base).await;
            link.map_err(|error| {
                anyhow::anyhow!("cannot create the link of the first login: {}", error.message())
            })?
        }
        None => None,
    };
    let up = Up {
        login,
        https: secure.as_ref().map(|(_, address)| *address),
        fingerprint: served.as_ref().map(|served| served.fingerprint.clone()),
        http: plain.as_ref().map(|(_, address)| *address),
        mqtt: cloud.mqtt_addr(),
        metrics: metrics.as_ref().map(|(_, address)| *address),
    };
    if let (Some((listener, _)), Some(served)) = (secure, &served) {
        servers.push(Server::start_tls(
            listener,
            web.clone(),
            Arc::clone(&served.certificate),
        )?);
    }
    if let Some((listener, _)) = plain {
        servers.push(Server::start_without_metrics(listener, web.clone()));
    }
    if let Some((listener, _)) = metrics {
        servers.push(Server::start_metrics(listener, web.clone()));
    }
    let mut out = std::io::stdout();
    out.write_all(up.text(options).as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write to standard output")?;
    let renew = || match &served {
        Some(served) => served.certificate.look_again(),
        None => tracing::info!("received SIGHUP; there is no certificate to reload"),
    };
    let keep_valid = async {
        match &served {
            Some(served) => served.keep_valid().await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = stop.ended_or_broken(&cloud, renew) => ended,
        () = keep_valid => Ok(()),
        () = warn_while_open(listeners) => Ok(()),
    };
    for server in servers {
        server.shutdown().await;
    }
    cloud.shutdown().await;
    ended
}

/// Binds an address; returns the listener with its real port.
async fn bound(address: Option<SocketAddr>) -> anyhow::Result<Option<(TcpListener, SocketAddr)>> {
    let Some(address) = address else { return Ok(None) };
    let listener = listen::http(Some(address)).await?;
    let address = listener
        .local_addr()
        .with_context(|| format!("cannot read the address of the listener on {address}"))?;
    Ok(Some((listener, address)))
}

/// Warns every hour while something is offered to other machines without encryption; never ends.
async fn warn_while_open(listeners: Listeners) {
    if !listeners.are_open() {
        return std::future::pending().await;
    }
    let mut rounds = tokio::time::interval(WARN_EVERY);
    loop {
        rounds.tick().await;
        tracing::warn!(
            "--insecure: secrets and messages cross the network in clear; use --listen, which serves them behind TLS"
        );
    }
}

fn config(
    options: &Options,
    listeners: Listeners,
    keys: KeyPlaces,
    mails: Option<MailConfig>,
) -> anyhow::Result<CloudConfig> {
    let mut config = CloudConfig::new(options.data.clone(), listeners::DEFAULT_MQTT);
    config.mqtt = listeners.mqtt;
    config.edge = EdgeConfig::for_process(0)?;
    config.edge.trusted_proxies.clone_from(&options.trusted_proxy);
    config.database_url.clone_from(&options.database_url);
    config.rate_limit = NonZeroU32::new(options.rate_limit);
    config.webhooks.allow.clone_from(&options.webhook_allow);
    config.webhooks.https_only = options.webhook_https_only;
    config.mails = mails;
    config.keys = Some(keys);
    compiled::use_folder(&options.data.join("compiled"));
    compiled::warm_in_background()?;
    config.builder = Some(cloud_builder::new()?);
    config.https = options.behind_https;
    Ok(config)
}

/// Addresses of everything that listens.
struct Up {
    https: Option<SocketAddr>,
    /// sha256 of the certificate that clients pin, hex.
    fingerprint: Option<String>,
    http: Option<SocketAddr>,
    mqtt: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
    /// Link by which the first person becomes an owner; none if a user exists.
    login: Option<String>,
}

/// Returns host and port under which a person on this machine reaches a listener: the first name of the certificate, or
/// `localhost` if it listens on all addresses.
fn reachable(address: SocketAddr, names: &[String]) -> String {
    match names.first() {
        Some(name) => format!("{name}:{}", address.port()),
        None if address.ip().is_unspecified() => format!("localhost:{}", address.port()),
        None => address.to_string(),
    }
}

impl Up {
    fn text(&self, options: &Options) -> String {
        let url = |scheme: &str, address: Option<SocketAddr>, path: &str| {
            address.map(|address| format!("{scheme}://{address}{path}"))
        };
        let (https, http) = (url("https", self.https, ""), url("http", self.http, ""));
        let metrics = url("http", self.metrics, "/metrics");
        let mqtt = self.mqtt.map(|address| address.to_string());
        if options.json {
            let mut line = json!({});
            for (key, value) in [
                ("https", &https),
                ("fingerprint", &self.fingerprint),
                // Of two addresses, `http` is the one without TLS; it was the only one before there were two.
                ("http", if http.is_some() { &http } else { &https }),
                ("mqtt", &mqtt),
                ("metrics", &metrics),
                ("login", &self.login),
            ] {
                if let Some(value) = value {
                    line[key] = value.as_str().into();
                }
            }
            return format!("{line}\n");
        }
        let data = options.data.display().to_string();
        [
            ("dashboard and REST API", &https),
            (
                "MQTT",
                &https
                    .as_ref()
                    .map(|_| "on the same address, over TLS or as wss on /mqtt".to_owned()),
            ),
            ("fingerprint (sha256)", &self.fingerprint),
            ("without TLS", &http),
            ("MQTT without TLS", &mqtt),
            ("metrics", &metrics),
            ("data", &Some(data)),
            ("first login (10 minutes)", &self.login),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name:<24}{}\n", value.as_ref()?)))
        .collect()
    }
}
