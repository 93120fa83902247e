//! `iottly serve`: the cloud alone.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use iottly_cloud::cloud::{Cloud, CloudConfig};
use iottly_cloud::http::{self, Server};
use ipnet::IpNet;
use serde_json::json;

use crate::children;
use crate::listen::{self, Stop};

#[derive(Args)]
pub(crate) struct Options {
    /// Folder of the cloud's files
    #[arg(long)]
    data: PathBuf,
    /// PostgreSQL database to use in place of a SQLite file in the folder
    #[arg(long, value_name = "postgres://…", env = "IOTTLY_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Address of the REST API and the dashboard
    #[arg(long, value_name = "ADDR", default_value_t = listen::DEFAULT_HTTP)]
    http: SocketAddr,
    /// Address of the MQTT broker
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 1883)))]
    mqtt: SocketAddr,
    /// Requests a minute that each token may make; 0 for as many as it likes
    #[arg(long, value_name = "N", default_value_t = 6000)]
    rate_limit: u32,
    /// A network that webhooks may go to beside the public internet; may be given several times
    #[arg(long = "webhook-allow", value_name = "CIDR")]
    webhook_allow: Vec<IpNet>,
    /// Let webhooks go to https: addresses only
    #[arg(long)]
    webhook_https_only: bool,
    /// File of the key that seals secrets in the database, the same for all clouds on one database
    /// [default: seal.key in the data folder, made at the first start]
    #[arg(long, value_name = "FILE", env = "IOTTLY_SEAL")]
    seal_key: Option<PathBuf>,
    /// Certificate chain (PEM) of the REST API, the dashboard and the repositories of releases: they are served with TLS then
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Key (PEM) of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A proxy in front of the cloud serves it by HTTPS: browsers keep logins to HTTPS. Certificates of the cloud's own imply it
    #[arg(long)]
    behind_https: bool,
    /// Print one line of JSON when everything is up
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let mut stop = Stop::new()?;
    let listener = listen::http(Some(options.http)).await?;
    let address = listener.local_addr().context("the http listener has no address")?;
    let mut config = CloudConfig::new(options.data.clone(), options.mqtt);
    config.database_url = options.database_url;
    config.rate_limit = NonZeroU32::new(options.rate_limit);
    config.webhooks.allow = options.webhook_allow;
    config.webhooks.https_only = options.webhook_https_only;
    config.webhooks.seal_key = options.seal_key;
    config.builder = Some(children::cloud_builder()?);
    config.https = options.behind_https || options.tls_cert.is_some();
    let cloud = Cloud::start(config).await?;
    let (server, scheme) = match options.tls_cert.as_deref().zip(options.tls_key.as_deref()) {
        Some((cert, key)) => (Server::start_tls(listener, cloud.services(), http::tls(cert, key)?)?, "https"),
        None => (Server::start(listener, cloud.services()), "http"),
    };
    let (url, mqtt) = (format!("{scheme}://{address}"), cloud.mqtt_addr());
    let ready = if options.json {
        format!("{}\n", json!({"http": url, "mqtt": mqtt.to_string()}))
    } else {
        format!(
            "dashboard and REST API  {url}\nMQTT broker             {mqtt}\ndata                    {}\n",
            options.data.display()
        )
    };
    let mut out = std::io::stdout();
    out.write_all(ready.as_bytes()).and_then(|()| out.flush()).context("cannot write to standard output")?;
    let ended = stop.requested_or_broken(&cloud).await;
    server.shutdown().await;
    cloud.shutdown().await;
    ended
}
