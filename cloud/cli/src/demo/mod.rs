//! `iottly demo`: a cloud, its broker and virtual devices with firmware, in one process.

mod announce;
mod firmware;
mod fleet;
mod home;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use iottly_cloud::edge::EdgeConfig;
use iottly_cloud::mails::MailConfig;
use iottly_cloud::{Cloud, CloudConfig};
use iottly_web::WebServices;
use ipnet::{IpNet, Ipv4Net};

use crate::cloud_builder;
use crate::compiled;
use crate::exit::Failure;
use crate::listen::{self, Stop};
use announce::Announcer;
use fleet::{Addresses, Fleet};
use home::Home;

/// Largest number of virtual devices in one process; each has its own threads and queue.
const MAX_DEVICES: u16 = 1000;
/// Descriptors that one virtual device needs in this process: files, and both ends of its connections.
const DESCRIPTORS_PER_DEVICE: usize = 12;
/// Smallest number of descriptors of the cloud itself, without its reserve.
const DESCRIPTORS: u64 = 96;
/// Divisor of the limit that gives the cloud's reserve.
const RESERVE_SHARE: u64 = 8;

#[derive(Args)]
pub(crate) struct Options {
    /// Folder for the cloud's and the devices' data [default: a temporary one]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Address of the REST API and the dashboard [default: 127.0.0.1:8080, or any free port if that is taken]
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Address of the MQTT broker
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))]
    mqtt: SocketAddr,
    /// Firmware of the devices until a release is committed: a folder, a script (.js) or a component (.wasm)
    /// [default: a heated room on a virtual board]
    #[arg(long, value_name = "PATH")]
    firmware: Option<PathBuf>,
    /// Number of virtual devices; each needs about 12 open files, see ulimit -Hn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_DEVICES)))]
    devices: u16,
    #[command(flatten)]
    mail: crate::serve::mail::Options,
    /// Print one line of JSON when everything is up, and nothing else on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    check_descriptors(options.devices, iottly_sandbox::descriptor_limit())?;
    let mails = options.mail.settings()?;
    Ok(serve(options, mails).await?)
}

async fn serve(options: Options, mails: Option<MailConfig>) -> anyhow::Result<()> {
    let mut stop = Stop::new()?;
    let announcer = Announcer::new(options.json);
    let home = Home::open(options.data.as_deref())?;
    compiled::use_folder(&home.cache());
    // Takes a second of a processor, during which everything else starts.
    compiled::warm_in_background()?;
    let listener = listen::http(options.http).await?;
    let http = listener
        .local_addr()
        .context("cannot read the address of the http listener")?;

    let mut config = CloudConfig::new(home.cloud(), options.mqtt);
    let devices = usize::from(options.devices);
    config.edge = EdgeConfig::for_process(devices * DESCRIPTORS_PER_DEVICE)?;
    config.edge.bounds = config.edge.bounds.with_own_devices(devices);
    // Receivers of the demo's webhooks run on this machine.
    config.webhooks.allow = vec![
        IpNet::from(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
        IpNet::from(IpAddr::from(Ipv6Addr::LOCALHOST)),
    ];
    config.mails = mails;
    config.builder = Some(cloud_builder::new()?);
    let cloud = Cloud::start(config).await?;
    let services = WebServices::new(cloud.services());
    let server = iottly_web::http::Server::start(listener, services.clone());
    announcer.step("cloud and database", &format!("http://{http}"));
    let mqtt = cloud.mqtt_addr().context("the broker of a demo has a listener")?;
    announcer.step("broker", &mqtt.to_string());

    let mut fleet = Fleet::default();
    let begun = tokio::select! {
        begun = bring_up(&options, &home, (http, mqtt), &services, &announcer, &mut fleet) => begun,
        ended = stop.requested_or_broken(&cloud) => ended,
    };
    let ended = if begun.is_ok() && fleet.is_up() {
        stop.requested_or_broken(&cloud).await
    } else {
        begun
    };
    announcer.note("stopping");
    fleet.shutdown().await;
    server.shutdown().await;
    cloud.shutdown().await;
    ended
}

/// Refuses more devices than this process can open files for.
fn check_descriptors(devices: u16, limit: u64) -> Result<(), Failure> {
    let each = DESCRIPTORS_PER_DEVICE as u64;
    let cloud = DESCRIPTORS + limit / RESERVE_SHARE;
    let needed = cloud + u64::from(devices) * each;
    if needed <= limit {
        return Ok(());
    }
    let most = limit.saturating_sub(cloud) / each;
    Err(Failure::Invalid(format!(
        "{devices} devices need {needed} open files ({each} each, {cloud} for the cloud), and this process may have {limit}: \
         raise the hard limit (ulimit -Hn), or start at most {most} devices"
    )))
}

/// Starts the devices, and returns when each is online with its firmware running.
async fn bring_up(
    options: &Options,
    home: &Home,
    (http, mqtt): (SocketAddr, SocketAddr),
    services: &WebServices,
    announcer: &Announcer,
    fleet: &mut Fleet,
) -> anyhow::Result<()> {
    let project = home.project(services, options.devices).await?;
    let wasm = match &options.firmware {
        Some(path) => {
            let wasm = firmware::own(path, &home.firmware()).await?;
            announcer.step("firmware", &path.display().to_string());
            wasm
        }
        None => {
            let wasm = firmware::room(&home.firmware())?;
            announcer.step("firmware", "a heated room, a script");
            wasm
        }
    };
    services
        .rollouts
        .prepare(project.project_id)
        .await
        .context("cannot create the repository of releases")?;
    let addresses = Addresses {
        mqtt,
        http: local(http),
        root: services.rollouts.repositories().first_root(project.project_id),
    };
    fleet.start(home, &project, &wasm, &addresses).await?;
    fleet.wait_until_up(services, &project).await?;
    announcer.step(
        "devices",
        &format!("{} online, firmware running", project.devices.len()),
    );
    announcer.ready(http, mqtt, &project, services).await
}

/// Returns the address at which devices in this process reach HTTP.
fn local(http: SocketAddr) -> String {
    let ip = match http.ip() {
        ip if !ip.is_unspecified() => ip,
        std::net::IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    format!("http://{}", SocketAddr::new(ip, http.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_devices_than_files_are_refused_with_what_they_cost() {
        assert!(check_descriptors(66, 1024).is_ok());
        let Err(Failure::Invalid(text)) = check_descriptors(150, 1024) else {
            panic!("taken")
        };
        assert!(
            text.starts_with("150 devices need 2024 open files (12 each, 224 for the cloud)"),
            "{text}"
        );
        assert!(text.ends_with("start at most 66 devices"), "{text}");
        assert!(check_descriptors(1, 64).is_err() && check_descriptors(MAX_DEVICES, u64::MAX).is_ok());
    }
}
