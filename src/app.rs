//! The composition root: settings become a pool, metrics, engines and an HTTP server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::argos::client::{Client, ClientError};
use crate::argos::decode::Refusal;
use crate::argos::error::ApiError;
use crate::clock::Clock;
use crate::config::{ConfigError, Project, Settings};
use crate::embedded::{self, Cluster, EmbeddedError};
use crate::exit::Exit;
use crate::heartbeat::Heartbeat;
use crate::metrics::Metrics;
use crate::store::database;
use crate::store::error::StoreError;
use crate::sync::engine::{Engine, Parts};
use crate::sync::error::SyncError;

/// Name of the database inside the private cluster.
pub const EMBEDDED_DATABASE: &str = "argos_sync";

/// How long connections may take to say good-bye.
const CLOSE: Duration = Duration::from_secs(1);

/// What all commands that touch the database share.
pub struct App {
    /// The settings.
    pub settings: Arc<Settings>,
    /// The database. Connects when it is first used.
    pub pool: PgPool,
    /// All metrics.
    pub metrics: Metrics,
    /// What time it is.
    pub clock: Clock,
    cluster: Option<Mutex<Cluster>>,
}

/// Why a command cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A setting.
    #[error("{0}")]
    Config(ConfigError),
    /// The private cluster.
    #[error("the private PostgreSQL cluster cannot be used")]
    Embedded(#[source] EmbeddedError),
    /// The database.
    #[error("the database cannot be used")]
    Store(#[source] StoreError),
    /// The vendor's API.
    #[error("the client for the vendor's API cannot be made")]
    Client(#[source] ClientError),
    /// A pass.
    #[error("project {project:?}")]
    Sync {
        /// The project.
        project: String,
        /// The cause.
        source: SyncError,
    },
    /// The HTTP port.
    #[error("cannot listen on {address}: change http.listen, or stop what uses the port")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// A task ended without being asked to.
    #[error("the task {task:?} ended by itself, so the process ends too: let systemd or Kubernetes restart it")]
    TaskEnded {
        /// Which task.
        task: String,
    },
    /// Tasks did not end within `shutdown.grace`.
    #[error("not everything ended within shutdown.grace; what was not committed will be read again")]
    GraceOver,
    /// Metrics that clash: a bug.
    #[error("the metrics cannot be set up")]
    Metrics(#[source] prometheus::Error),
    /// Anything else, in one sentence.
    #[error("{message}")]
    Other {
        /// The sentence.
        message: String,
        /// The code to end with.
        exit: Exit,
    },
}

impl AppError {
    /// The code to end with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Client(_) => Exit::Config,
            Self::Embedded(_) => Exit::Postgres,
            Self::Store(_) => Exit::Database,
            Self::Sync {
                source:
                    SyncError::NotLeader { .. }
                    | SyncError::LeftToOthers { .. }
                    | SyncError::Store(StoreError::LeaseLost { .. }),
                ..
            } => Exit::LeaseHeld,
            Self::Sync { source: SyncError::Store(_), .. } => Exit::Database,
            Self::Sync { .. } => Exit::Api,
            Self::Listen { .. } => Exit::Listen,
            Self::TaskEnded { .. } => Exit::TaskEnded,
            Self::GraceOver => Exit::Aborted,
            Self::Metrics(_) => Exit::Failure,
            Self::Other { exit, .. } => *exit,
        }
    }

    /// What it means and what to do, where the message does not say it.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Store(error) => Some(error.advice()),
            Self::Sync { source, .. } => Some(source.advice()),
            _ => None,
        }
    }
}

impl From<ConfigError> for AppError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl App {
    /// Starts (or joins) the private cluster if no database is configured, and prepares the pool.
    pub async fn open(settings: Settings, clock: Clock) -> Result<Self, AppError> {
        use secrecy::ExposeSecret;
        let metrics = Metrics::new(&ApiError::KINDS, &Refusal::REASONS).map_err(AppError::Metrics)?;
        let (url, cluster) = match &settings.database.url {
            Some(url) => (url.expose_secret().to_owned(), None),
            None => {
                let cluster = start_cluster(&data_dir(&settings)).await?;
                (cluster.url(EMBEDDED_DATABASE), Some(cluster))
            }
        };
        let pool = database::pool(&url, &settings.database)?;
        metrics.reload_success.set(clock.now().timestamp());
        Ok(Self { settings: Arc::new(settings), pool, metrics, clock, cluster: cluster.map(Mutex::new) })
    }

    /// Checks that the schema is there and complete; migrates if it is not, unless `database.migrate` is off. Migrating
    /// needs rights that the daemon's role should not have, so it is not even tried when there is nothing to do.
    pub async fn prepare_database(&self) -> Result<(), StoreError> {
        match self.check_database().await {
            Err(StoreError::NotMigrated) if self.settings.database.migrate => database::migrate(&self.pool).await,
            checked => checked,
        }
    }

    /// Checks that the schema is there and complete, and leaves it as it is.
    pub async fn check_database(&self) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await.map_err(StoreError::doing("connecting"))?;
        self.in_time(database::compatible(&mut connection)).await
    }

    /// A handful of statements: a server that falls silent is not waited for without end.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let most = self.settings.database.statement_timeout * 2;
        tokio::time::timeout(most, work).await.unwrap_or(Err(StoreError::Unanswered))
    }

    /// The client for a project's key.
    pub fn client(&self, project: &Project, heartbeat: &Heartbeat) -> Result<Client, AppError> {
        let metrics = self.metrics.project(&project.id);
        Client::new(&project.api, &self.settings.limits, self.clock.clone(), metrics, heartbeat.clone())
            .map_err(AppError::Client)
    }

    /// The engine of a project.
    pub async fn engine(
        &self,
        project: &Project,
        holder: &str,
        heartbeat: &Heartbeat,
        stop: &CancellationToken,
    ) -> Result<Engine, AppError> {
        let mut connection = self.pool.acquire().await.map_err(StoreError::doing("connecting"))?;
        let key = self.in_time(database::hash_key(&mut connection, &self.settings.database)).await?;
        Ok(Engine::new(Parts {
            project: project.clone(),
            settings: self.settings.clone(),
            pool: self.pool.clone(),
            client: self.client(project, heartbeat)?,
            key,
            holder: holder.to_owned(),
            clock: self.clock.clone(),
            metrics: self.metrics.project(&project.id),
            heartbeat: heartbeat.clone(),
            stop: stop.clone(),
        }))
    }

    /// Waits until the private cluster that this process started ends by itself; for ever if there is none.
    pub async fn cluster_ended(&self) -> AppError {
        match &self.cluster {
            Some(cluster) => AppError::Embedded(cluster.lock().await.ended().await),
            None => std::future::pending().await,
        }
    }

    /// Closes the pool, and stops the private cluster if this process started it.
    pub async fn close(self) -> Result<(), AppError> {
        // The pool waits for statements that may wait for somebody's lock; the end of the process ends them as well.
        let _ = tokio::time::timeout(CLOSE, self.pool.close()).await;
        match self.cluster {
            Some(cluster) => cluster.into_inner().stop().await.map_err(AppError::Embedded),
            None => Ok(()),
        }
    }
}

/// Where the private cluster keeps its data: `database.data_dir`, or a directory of its own per user.
pub fn data_dir(settings: &Settings) -> PathBuf {
    settings.database.data_dir.clone().unwrap_or_else(|| embedded::default_data_dir("postgres"))
}

/// Starts or joins a private cluster, with our database in it, and says so.
pub async fn start_cluster(directory: &Path) -> Result<Cluster, AppError> {
    let cluster = Cluster::start(directory).await.map_err(AppError::Embedded)?;
    cluster.ensure_database(EMBEDDED_DATABASE).await.map_err(AppError::Embedded)?;
    tracing::info!(
        directory = %directory.display(),
        started = cluster.started_by_us(),
        "no database.url is set: using the private PostgreSQL cluster in this directory (for a laptop; set database.url on a server)"
    );
    Ok(cluster)
}
