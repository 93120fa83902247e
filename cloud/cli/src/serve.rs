//! `iottly serve`: the cloud alone.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use iottly_cloud::cloud::{Cloud, CloudConfig};
use serde_json::json;

use crate::listen::{self, Stop};

#[derive(Args)]
pub(crate) struct Options {
    /// Folder of the database
    #[arg(long)]
    data: PathBuf,
    /// Address of the REST API and the dashboard
    #[arg(long, value_name = "ADDR", default_value_t = listen::DEFAULT_HTTP)]
    http: SocketAddr,
    /// Address of the MQTT broker
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 1883)))]
    mqtt: SocketAddr,
    /// Print one line of JSON when everything is up
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let mut stop = Stop::new()?;
    let listener = listen::http(Some(options.http)).await?;
    let http = listener.local_addr().context("the http listener has no address")?;
    let cloud = Cloud::start(CloudConfig::new(options.data.clone(), options.mqtt)).await?;
    let server = iottly_cloud::http::Server::start(listener, cloud.services());
    let (url, mqtt) = (format!("http://{http}"), cloud.mqtt_addr());
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
    stop.requested().await;
    server.shutdown().await;
    cloud.shutdown().await;
    Ok(())
}
