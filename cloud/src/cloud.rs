//! Assembly of a running cloud: store, broker, ingest and commands. Contains no logic of its own.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::alerts::{CertificateEnd, Evaluator};
use crate::boards::BoardViews;
use crate::broker::{Broker, BrokerError, EmbeddedBroker, EmbeddedConfig, MqttEntrance, StoreLogin, Uplink};
use crate::clock;
use crate::clock::Clock;
use crate::command::CommandService;
use crate::critical_tasks::CriticalTasks;
use crate::data_lock::DataLock;
use crate::device_settings::DeviceSettingsService;
use crate::edge::EdgeConfig;
use crate::enrolment::Enrolment;
use crate::guarded_clock::GuardedClock;
use crate::health::HealthService;
use crate::history_reader::HistoryReader;
use crate::holds::Holds;
use crate::housekeeping;
use crate::ingest::{Ingest, IngestHandle, IngestParts};
use crate::jobs::{JobParts, Jobs};
use crate::key_places::KeyPlaces;
use crate::leases::Leases;
use crate::links::Book;
use crate::live::LiveHub;
use crate::mails::{MailConfig, Mailer};
use crate::metrics::Metrics;
use crate::presence::PresenceService;
use crate::refusals::RefusalBook;
use crate::releases::ReleaseRepositories;
use crate::rollout::{Builder, Rollouts};
use crate::series::SeriesService;
use crate::webhooks::{Deliverer, DelivererHandle, DelivererParts, SetupError, WebhookConfig, worker_id};
use iottly_core::MessageIds;
use iottly_core::model::UnixMs;
use iottly_core::rate::RateLimit;
use iottly_protocol::enroll::EnrollOffer;
use iottly_store as store;
use iottly_store::{Database, Store, StoreError};

/// Time in which devices that were online before a restart may reconnect before they count as disconnected.
/// Longer than an agent's first reconnect attempts, so that a restart of the cloud leaves no trace in their
/// histories.
pub const PRESENCE_GRACE: Duration = Duration::from_secs(30);
/// Maximum wait of a shutdown for queued events.
const FINISH: Duration = Duration::from_secs(1);
/// Maximum wait of a shutdown for recording the results of webhooks.
const RECORD: Duration = Duration::from_millis(1500);

/// Configuration of a cloud.
#[derive(Clone)]
pub struct CloudConfig {
    /// Folder of the cloud's files; created if missing, locked while the cloud runs.
    pub data: PathBuf,
    /// URL of a PostgreSQL database; none for a SQLite file in the folder.
    pub database_url: Option<String>,
    /// Address of the MQTT listener; port 0 takes any free port. None when devices come through the HTTP listener.
    pub mqtt: Option<SocketAddr>,
    /// Limits of connections, and trusted proxies.
    pub edge: EdgeConfig,
    /// Time in which devices that were online may reconnect after a restart; [`PRESENCE_GRACE`] unless a test
    /// needs less.
    pub presence_grace: Duration,
    /// Maximum number of requests per minute of each token; none for no limit.
    pub rate_limit: Option<NonZeroU32>,
    /// Allowed destinations of webhooks, and the key that seals their secrets.
    pub webhooks: WebhookConfig,
    /// Mail server for mails about alerts, and who may get them; none to send no mails.
    pub mails: Option<MailConfig>,
    /// Builder of code for releases; without it only uploaded components become releases.
    pub builder: Option<Builder>,
    /// True if browsers reach the cloud by HTTPS, through its own TLS or a proxy's; their login cookies are
    /// then limited to HTTPS.
    pub https: bool,
    /// Wall clock; the system's clock unless a test sets another.
    pub clock: Clock,
    /// Places of the secret keys; none for the data folder and `webhooks.seal_key`.
    pub keys: Option<KeyPlaces>,
    /// Free bytes of the disk below which no code, component or release is accepted; none for the default.
    pub disk_floor: Option<u64>,
}

impl CloudConfig {
    /// Returns the configuration of a cloud with its data in `data` and an MQTT listener on `mqtt`.
    #[must_use]
    pub fn new(data: PathBuf, mqtt: SocketAddr) -> Self {
        Self {
            data,
            database_url: None,
            mqtt: Some(mqtt),
            presence_grace: PRESENCE_GRACE,
            rate_limit: None,
            edge: EdgeConfig::default(),
            webhooks: WebhookConfig::default(),
            mails: None,
            builder: None,
            https: false,
            clock: Arc::new(clock::now),
            keys: None,
            disk_floor: None,
        }
    }

    /// Returns the places of the secret keys.
    #[must_use]
    pub fn key_places(&self) -> KeyPlaces {
        self.keys
            .clone()
            .unwrap_or_else(|| KeyPlaces::new(&self.data).with_seal(self.webhooks.seal_key.clone()))
    }

    /// Returns the database to open.
    #[must_use]
    pub fn database(&self) -> Database {
        match &self.database_url {
            Some(url) => Database::Server(url.clone()),
            None => Database::File(database_path(&self.data)),
        }
    }
}

/// Fills the empty database of a stopped cloud from a backup.
///
/// # Errors
/// If the folder is unusable or in use, the database is not empty, or `file` is not a complete backup.
pub async fn restore(config: &CloudConfig, file: &Path) -> Result<(), StartError> {
    let _lock = DataLock::take(&config.data).map_err(|reason| StartError::Data {
        path: config.data.clone(),
        reason,
    })?;
    Ok(store::restore(file, &config.database()).await?)
}

/// Returns the path of the database file in a data folder.
#[must_use]
pub fn database_path(data: &Path) -> PathBuf {
    data.join("cloud.db")
}

/// Services that request handlers use; cheap to clone.
#[derive(Clone)]
pub struct Services {
    /// Database of the cloud.
    pub store: Arc<dyn Store>,
    /// Service of commands: validation, storage and sending.
    pub commands: Arc<CommandService>,
    /// Service of devices' settings.
    pub device_settings: Arc<DeviceSettingsService>,
    /// Service of releases and rollouts.
    pub rollouts: Arc<Rollouts>,
    /// Service of developer leases.
    pub leases: Arc<Leases>,
    /// Service of enrolment.
    pub enrolment: Arc<Enrolment>,
    /// Service of devices with copies.
    pub holds: Arc<Holds>,
    /// Views of virtual boards.
    pub boards: Arc<BoardViews>,
    /// Health of devices.
    pub health: Arc<HealthService>,
    /// Last refusals of devices that could not get in.
    pub refusals: Arc<RefusalBook>,
    /// Hub of messages as they are stored.
    pub live: Arc<LiveHub>,
    /// Presence of devices.
    pub presence: Arc<PresenceService>,
    /// Settings for mails; none if the cloud sends none.
    pub mails: Option<Arc<MailConfig>>,
    /// End of the cloud's certificate.
    pub certificate: Arc<CertificateEnd>,
    /// Offer to devices without a key; empty while the cloud has no TLS.
    pub enroll_offer: Arc<OnceLock<EnrollOffer>>,
    /// MQTT broker.
    pub broker: Arc<dyn Broker>,
    /// Entrance to the broker for connections that the HTTP listener accepts.
    pub mqtt: MqttEntrance,
    /// Generator of ObjectIds.
    pub ids: Arc<MessageIds>,
    /// True if browsers use HTTPS: login cookies are then limited to HTTPS.
    pub https: bool,
    /// Rate limit of each token; none for no limit.
    pub rate: Option<Arc<RateLimit>>,
    /// Metrics of the cloud.
    pub metrics: Arc<Metrics>,
    /// Handle of the worker that sends to webhooks.
    pub webhooks: DelivererHandle,
    /// Queue in front of the ingest.
    pub queue: IngestHandle,
    /// Limits of reading histories.
    pub history_reader: Arc<HistoryReader>,
    /// Plots of series.
    pub series: Arc<SeriesService>,
    /// Jobs over many devices.
    pub jobs: Arc<Jobs>,
    /// Limits of connections, and trusted proxies.
    pub edge: EdgeConfig,
    /// Watcher of critical tasks.
    pub critical_tasks: CriticalTasks,
    /// Time at which the cloud started.
    pub started: UnixMs,
    /// Clock for dates, deadlines and times of receipt.
    pub time: Arc<GuardedClock>,
}

/// Reason for which a cloud did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder is unusable.
    #[error("data folder {}: {reason}", path.display())]
    Data {
        /// Path of the folder.
        path: PathBuf,
        /// Description of the fault.
        reason: String,
    },
    /// The database is unusable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The broker did not start.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Webhooks cannot be set up.
    #[error("webhooks: {0}")]
    Webhooks(#[from] SetupError),
}

/// A running cloud without its HTTP side.
pub struct Cloud {
    services: Services,
    broker: Arc<EmbeddedBroker>,
    ingest: Ingest,
    deliverer: Deliverer,
    housekeeping: JoinHandle<()>,
    executor: JoinHandle<()>,
    watching: JoinHandle<()>,
    viewing: JoinHandle<()>,
    reporting: JoinHandle<()>,
    evaluator: JoinHandle<()>,
    mailer: Option<JoinHandle<()>>,
    jobs: JoinHandle<()>,
    critical_tasks: CriticalTasks,
    _lock: DataLock,
}

impl Cloud {
    /// Opens the database and starts broker, ingest and commands.
    ///
    /// ```
    /// use iottly_cloud::{Cloud, CloudConfig};
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let data = tempfile::tempdir()?;
    /// let config = CloudConfig::new(data.path().join("cloud"), "127.0.0.1:0".parse()?);
    /// let cloud = Cloud::start(config).await?;
    /// println!("devices connect to {:?}", cloud.mqtt_addr());
    /// assert!(cloud.services().store.online_devices().await?.is_empty());
    /// cloud.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the data folder is unusable or in use, the database cannot be opened, or the MQTT address cannot be
    /// bound.
    pub async fn start(config: CloudConfig) -> Result<Self, StartError> {
        let unusable = |reason: String| StartError::Data {
            path: config.data.clone(),
            reason,
        };
        let lock = DataLock::take(&config.data).map_err(unusable)?;
        let (store, ids) = store::open(&config.database()).await?;
        let time = Arc::new(GuardedClock::new(Arc::clone(&config.clock)));
        let boards = Arc::new(BoardViews::new(Arc::clone(&store)));
        let live = Arc::new(LiveHub::default());
        let health = Arc::new(HealthService::new(Arc::clone(&store), Arc::clone(&live)));
        let (handle, queue) = Ingest::queue(
            Arc::clone(&store),
            Arc::clone(&time),
            Arc::clone(&boards),
            Arc::clone(&health),
        );
        let metrics = Arc::new(Metrics::default());
        let critical = CriticalTasks::default();
        let keys = config.key_places();
        let parts = DelivererParts {
            seal: keys.seal().map_err(SetupError::from)?,
            store: store.clone(),
            changes: store.clone(),
            live: Arc::clone(&live),
            metrics: Arc::clone(&metrics),
            config: config.webhooks.clone(),
        };
        let (deliverer, webhooks) = Deliverer::start(&config.data, parts, FINISH, &critical).await?;
        let refusals = Arc::new(RefusalBook::new(Arc::clone(&live)));
        let login = Arc::new(StoreLogin::new(store.clone(), Arc::clone(&refusals)));
        let listen = EmbeddedConfig {
            listen: config.mqtt,
            edge: config.edge.clone(),
        };
        let book = Arc::new(Book::default());
        let uplink: Arc<dyn Uplink> = Arc::new(handle.clone());
        let broker =
            EmbeddedBroker::start_watched(&listen, login, Arc::clone(&uplink), Arc::clone(&book), &critical);
        let broker = Arc::new(broker.await?);
        let shared = Arc::clone(&broker) as Arc<dyn Broker>;
        boards.attach(Arc::clone(&shared));
        let commands = Arc::new(CommandService::new(
            Arc::clone(&store),
            Arc::clone(&shared),
            Arc::clone(&live),
            Arc::clone(&metrics),
            Arc::clone(&time),
        ));
        let device_settings = Arc::new(DeviceSettingsService::new(store.clone(), Arc::clone(&shared)));
        let (repositories, builder) = (
            ReleaseRepositories::with_keys(&config.data, keys).with_floor(config.disk_floor),
            config.builder.clone(),
        );
        let leases = Arc::new(Leases::new(
            Arc::clone(&store),
            Arc::clone(&shared),
            repositories.clone(),
        ));
        let rollouts = Arc::new(Rollouts::new(
            Arc::clone(&store),
            Arc::clone(&shared),
            Arc::clone(&live),
            repositories,
            builder,
        ));
        let holds = Arc::new(Holds::load(Arc::clone(&store), Arc::clone(&shared)).await?);
        let enrolment = Arc::new(Enrolment::new(
            Arc::clone(&store),
            Arc::clone(&shared),
            Arc::clone(&rollouts),
            Arc::clone(&holds),
            Arc::clone(&refusals),
            Arc::clone(&live),
        ));
        let presence = Arc::new(PresenceService::new(
            Arc::clone(&store),
            Arc::clone(&live),
            Arc::clone(&time),
            Arc::clone(&book),
        ));
        let enroll_offer = Arc::new(OnceLock::new());
        let parts = IngestParts {
            store: Arc::clone(&store),
            broker: Arc::clone(&shared),
            commands: Arc::clone(&commands),
            device_settings: Arc::clone(&device_settings),
            rollouts: Arc::clone(&rollouts),
            leases: Arc::clone(&leases),
            holds: Arc::clone(&holds),
            live: Arc::clone(&live),
            metrics: Arc::clone(&metrics),
            time: Arc::clone(&time),
            enroll_offer: Arc::clone(&enroll_offer),
            presence: Arc::clone(&presence),
            boards: Arc::clone(&boards),
            book,
        };
        let ingest = Ingest::start(queue, parts, config.presence_grace, &critical);
        let housekeeping = tokio::spawn(critical.watch(
            "housekeeping",
            housekeeping::keep_house(Arc::clone(&store), Arc::clone(&time)),
        ));
        let watching = Arc::clone(&presence).run(Arc::clone(&shared), uplink);
        let watching = tokio::spawn(critical.watch("presence", watching));
        let certificate = Arc::new(CertificateEnd::default());
        let evaluator = Evaluator {
            store: Arc::clone(&store),
            live: Arc::clone(&live),
            presence: Arc::clone(&presence),
            broker: Arc::clone(&shared),
            time: Arc::clone(&time),
            certificate: Arc::clone(&certificate),
        };
        let evaluator = tokio::spawn(critical.watch("alerts", evaluator.run(config.presence_grace)));
        let viewing = tokio::spawn(critical.watch("boards", Arc::clone(&boards).run()));
        let reporting = tokio::spawn(critical.watch("health", Arc::clone(&health).run()));
        let mails = config.mails.map(Arc::new);
        let mailer = mails.as_ref().map(|mails| {
            let mailer = Mailer {
                store: Arc::clone(&store),
                time: Arc::clone(&time),
                metrics: Arc::clone(&metrics),
                config: Arc::clone(mails),
            };
            tokio::spawn(critical.watch("mails", mailer.run()))
        });
        let executor = tokio::spawn(critical.watch("rollouts", Arc::clone(&rollouts).run()));
        let history_reader: Arc<HistoryReader> = Arc::default();
        let series = Arc::new(SeriesService::new(
            Arc::clone(&store),
            Arc::clone(&history_reader),
        ));
        let parts = JobParts {
            store: Arc::clone(&store),
            commands: Arc::clone(&commands),
            history_reader: Arc::clone(&history_reader),
            broker: Arc::clone(&shared),
            holds: Arc::clone(&holds),
            worker: worker_id(&config.data.join("worker.id")).map_err(SetupError::from)?,
            floor: config.disk_floor,
        };
        let jobs = Arc::new(Jobs::new(&config.data, parts));
        let working = tokio::spawn(critical.watch("jobs", Arc::clone(&jobs).run()));
        let services = Services {
            store,
            commands,
            device_settings,
            rollouts,
            leases,
            enrolment,
            holds,
            enroll_offer,
            boards,
            health,
            refusals,
            live,
            presence,
            mails,
            certificate,
            broker: shared,
            mqtt: broker.entrance(),
            ids,
            https: config.https,
            rate: config
                .rate_limit
                .map(|limit| Arc::new(RateLimit::per_minute(limit))),
            metrics,
            webhooks,
            queue: handle,
            history_reader,
            series,
            jobs,
            edge: config.edge,
            critical_tasks: critical.clone(),
            started: clock::now(),
            time,
        };
        Ok(Self {
            services,
            broker,
            ingest,
            deliverer,
            housekeeping,
            executor,
            watching,
            viewing,
            reporting,
            evaluator,
            mailer,
            jobs: working,
            critical_tasks: critical,
            _lock: lock,
        })
    }

    /// Returns the services that request handlers use.
    #[must_use]
    pub fn services(&self) -> Services {
        self.services.clone()
    }

    /// Returns the address of the MQTT listener, with the real port; none when there is none.
    #[must_use]
    pub fn mqtt_addr(&self) -> Option<SocketAddr> {
        self.broker.address()
    }

    /// Resolves with the name of a critical task that has panicked or ended. Without the task, the cloud
    /// would continue to accept messages that it never stores, so the caller should end the process and have
    /// it restarted.
    pub async fn broken(&self) -> &'static str {
        self.critical_tasks.broken().await
    }

    /// Stops within four seconds. Everything that was acknowledged is committed; devices send the rest again.
    pub async fn shutdown(self) {
        self.housekeeping.abort();
        self.executor.abort();
        self.watching.abort();
        self.viewing.abort();
        self.reporting.abort();
        self.evaluator.abort();
        if let Some(mailer) = &self.mailer {
            mailer.abort();
        }
        self.jobs.abort();
        self.broker.shutdown().await;
        self.ingest.finish(FINISH).await;
        self.deliverer.finish(RECORD).await;
        if let Err(error) = self.services.health.flush().await {
            tracing::debug!(%error, "failed to store the last reports about the health of devices; they come again");
        }
        self.services.store.close().await;
    }
}
