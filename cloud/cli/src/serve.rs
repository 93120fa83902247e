//! `iottly serve`: the cloud without devices.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use iottly_cloud::edge::EdgeConfig;
use iottly_cloud::{Cloud, CloudConfig};
use iottly_web::WebServices;
use iottly_web::http;
use iottly_web::http::Server;
use ipnet::IpNet;
use serde_json::json;
use tokio::net::TcpListener;

use crate::cloud_builder;
use crate::compiled;
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
    /// Address of the REST API and the dashboard
    #[arg(long, value_name = "ADDR", default_value_t = listen::DEFAULT_HTTP)]
    http: SocketAddr,
    /// Address of the MQTT broker
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 1883)))]
    mqtt: SocketAddr,
    /// Largest number of requests a minute of each token; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 6000)]
    rate_limit: u32,
    /// Network that webhooks may reach, in addition to the public internet; may be given several times
    #[arg(long = "webhook-allow", value_name = "CIDR")]
    webhook_allow: Vec<IpNet>,
    /// Allow webhooks to https: addresses only
    #[arg(long)]
    webhook_https_only: bool,
    /// File of the key that seals secrets in the database; all clouds on one database use the same key
    /// [default: seal.key in the data folder, created at the first start]
    #[arg(long, value_name = "FILE", env = "IOTTLY_SEAL")]
    seal_key: Option<PathBuf>,
    /// Certificate chain (PEM), with which the REST API, the dashboard and the repositories of releases are
    /// served over TLS
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
    /// Print one line of JSON when the cloud is up
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let mut stop = Stop::new()?;
    let listener = listen::http(Some(options.http)).await?;
    let address = listener
        .local_addr()
        .context("cannot read the address of the http listener")?;
    let metrics = match options.metrics {
        Some(address) => Some(listen::http(Some(address)).await.context("metrics")?),
        None => None,
    };
    let certificate = options.tls_cert.as_deref().zip(options.tls_key.as_deref());
    let certificate = certificate.map(|(cert, key)| http::tls(cert, key)).transpose()?;
    let cloud = Cloud::start(config(&options)?).await?;
    let web = WebServices::new(cloud.services());
    let (server, scheme) = match &certificate {
        Some(certificate) => (
            Server::start_tls(listener, web.clone(), Arc::clone(certificate))?,
            "https",
        ),
        None => (Server::start_without_metrics(listener, web.clone()), "http"),
    };
    let metrics_at = metrics
        .as_ref()
        .map(TcpListener::local_addr)
        .transpose()
        .context("cannot read the address of the metrics listener")?;
    let metrics = metrics.map(|listener| Server::start_metrics(listener, web.clone()));
    let up = Up {
        url: format!("{scheme}://{address}"),
        mqtt: cloud.mqtt_addr(),
        metrics: metrics_at,
    };
    let mut out = std::io::stdout();
    out.write_all(up.text(&options).as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write to standard output")?;
    let renew = || match &certificate {
        Some(certificate) => certificate.look_again(),
        None => tracing::info!("received SIGHUP; there is no certificate to reload"),
    };
    let ended = stop.ended_or_broken(&cloud, renew).await;
    server.shutdown().await;
    if let Some(metrics) = metrics {
        metrics.shutdown().await;
    }
    cloud.shutdown().await;
    ended
}

fn config(options: &Options) -> anyhow::Result<CloudConfig> {
    let mut config = CloudConfig::new(options.data.clone(), options.mqtt);
    config.edge = EdgeConfig::for_process(0)?;
    config.edge.trusted_proxies.clone_from(&options.trusted_proxy);
    config.database_url.clone_from(&options.database_url);
    config.rate_limit = NonZeroU32::new(options.rate_limit);
    config.webhooks.allow.clone_from(&options.webhook_allow);
    config.webhooks.https_only = options.webhook_https_only;
    config.webhooks.seal_key.clone_from(&options.seal_key);
    compiled::use_folder(&options.data.join("compiled"));
    compiled::warm_in_background()?;
    config.builder = Some(cloud_builder::new()?);
    config.https = options.behind_https || options.tls_cert.is_some();
    Ok(config)
}

/// Addresses of everything that listens.
struct Up {
    url: String,
    mqtt: SocketAddr,
    metrics: Option<SocketAddr>,
}

impl Up {
    fn text(&self, options: &Options) -> String {
        let metrics = self.metrics.map(|address| format!("http://{address}/metrics"));
        if options.json {
            let mut line = json!({"http": self.url, "mqtt": self.mqtt.to_string()});
            if let Some(metrics) = metrics {
                line["metrics"] = metrics.into();
            }
            return format!("{line}\n");
        }
        let metrics = metrics
            .map(|url| format!("metrics                 {url}\n"))
            .unwrap_or_default();
        let data = options.data.display();
        format!(
            "dashboard and REST API  {}\nMQTT broker             {}\n{metrics}data                    {data}\n",
            self.url, self.mqtt
        )
    }
}
