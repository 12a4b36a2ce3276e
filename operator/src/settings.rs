//! The command line. Each flag has a variable `ADIT_OPERATOR_*`.

use adit_config::{environment, secret::masked};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{net::SocketAddr, path::PathBuf};

const EXAMPLES: &str = "\
Examples:
  adit-operator --store-url-file /etc/adit-store/url   run, in all namespaces
  adit-operator --namespace tunnels                    run, in one namespace
  adit-operator crds | kubectl apply -f -              install the custom resources";

/// The operator of a tunnel provider: it runs the relays of Regions
#[derive(Clone, Debug, Parser)]
#[command(name = "adit-operator", version, before_help = EXAMPLES, disable_help_subcommand = true)]
#[command(args_conflicts_with_subcommands = true)]
pub struct CommandLine {
    /// What to do instead of running.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// How to run.
    #[command(flatten)]
    pub settings: Settings,
}

/// What to do instead of running.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Print the definitions of the custom resources (YAML)
    Crds {
        /// Write one file a kind into this folder instead
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Send one request to an ops port; the exit code is 0 if the answer is 200
    Probe {
        /// As in <http://127.0.0.1:9090/readyz>
        url: String,
    },
}

/// How the operator runs.
#[derive(Clone, Args)]
pub struct Settings {
    /// The only namespace whose Regions it runs [default: all namespaces]
    #[arg(long, value_name = "NAME", env = "ADIT_OPERATOR_NAMESPACE", value_parser = namespace_name)]
    pub namespace: Option<String>,
    /// A file with the store's URL, postgres://USER:PASSWORD@HOST/DATABASE, whose user owns the schema
    #[arg(long, value_name = "FILE", env = "ADIT_OPERATOR_STORE_URL_FILE")]
    pub store_url_file: Option<PathBuf>,
    /// The store's URL itself: only as ADIT_OPERATOR_STORE_URL, because arguments can be read by others
    #[arg(
        long,
        env = "ADIT_OPERATOR_STORE_URL",
        hide = true,
        hide_env_values = true,
        conflicts_with = "store_url_file"
    )]
    pub store_url: Option<String>,
    /// The image of relays, where a Region names none
    #[arg(long, value_name = "IMAGE", env = "ADIT_OPERATOR_RELAY_IMAGE", default_value = concat!("adit-relay:", env!("CARGO_PKG_VERSION")))]
    pub relay_image: String,
    /// The image of managed registries: its `redis-server` is started
    #[arg(
        long,
        value_name = "IMAGE",
        env = "ADIT_OPERATOR_REGISTRY_IMAGE",
        default_value = "docker.io/valkey/valkey:8"
    )]
    pub registry_image: String,
    /// Where /livez, /readyz and /metrics answer
    #[arg(long, value_name = "ADDRESS", env = "ADIT_OPERATOR_LISTEN_OPS", default_value = "[::]:9090")]
    pub listen_ops: SocketAddr,
    /// The Lease for leader election
    #[arg(long, value_name = "NAME", env = "ADIT_OPERATOR_LEASE_NAME", default_value = "adit-operator")]
    pub lease_name: String,
    /// The Lease's namespace [default: the pod's own]
    #[arg(long, value_name = "NAME", env = "ADIT_OPERATOR_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// This replica's name in the Lease [default: the host's name and random digits]
    #[arg(long, value_name = "NAME", env = "ADIT_OPERATOR_IDENTITY")]
    pub identity: Option<String>,
    /// DNS resolvers for the issue of Certificates: host and port, separated by commas [default: the system's resolvers]
    #[arg(long, value_name = "ADDRESS", env = "ADIT_OPERATOR_DNS_RESOLVERS", value_delimiter = ',')]
    pub dns_resolvers: Vec<String>,
    /// How many Regions, Certificates and Complaints are reconciled at once, 1 to 256 of each
    #[arg(long, value_name = "COUNT", env = "ADIT_OPERATOR_CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
    /// The provider's name, for error pages and messages of relays
    #[arg(long, value_name = "NAME", env = "ADIT_OPERATOR_PROVIDER_NAME")]
    pub provider_name: Option<String>,
    /// An e-mail address for reports of abuse, for the same
    #[arg(long, value_name = "ADDRESS", env = "ADIT_OPERATOR_PROVIDER_ABUSE")]
    pub provider_abuse: Option<String>,
    /// Log level: off, error, warn, info, debug or trace, or directives like info,kube=debug
    #[arg(long, value_name = "LEVEL", env = "ADIT_LOG", default_value = "info")]
    pub log: String,
    /// Format of the log lines
    #[arg(long, value_name = "FORMAT", env = "ADIT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("namespace", &self.namespace)
            .field("store", &self.store_url.as_deref().map(masked))
            .field("relay_image", &self.relay_image)
            .finish_non_exhaustive()
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object per line.
    Json,
}

fn namespace_name(text: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let valid = (1..=63).contains(&text.len()) && text.bytes().all(plain);
    if valid {
        Ok(text.to_owned())
    } else {
        Err("is not the name of a namespace: 1 to 63 of a-z, 0-9 and '-'")
    }
}

/// The mistakes in the environment: variables with Adit's prefix that no Adit program reads, with the name that was probably
/// meant.
pub fn unknown_variables(variables: impl Iterator<Item = (String, String)>) -> Vec<String> {
    let mut found: Vec<String> = variables
        .filter(|(name, _)| name.starts_with(environment::PREFIX))
        .filter(|(name, value)| !environment::is_known(name) && !environment::is_service_link(name, value))
        .map(|(name, _)| format!("{name}: {}", environment::unknown(&name)))
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_variables_is_that_of_the_flags() {
        use clap::CommandFactory;
        let line = CommandLine::command();
        let flags = line.get_arguments().filter_map(clap::Arg::get_env);
        let list = environment::list(flags.map(|variable| variable.to_string_lossy().into_owned()));
        adit_testkit::generated::assert_generated("relay/config/src/environment/adit-operator.txt", &list);
    }

    #[test]
    fn wrong_settings_are_refused() {
        for bad in [
            "--namespace A",
            "--namespace a/b",
            "--concurrency 0",
            "--listen-ops x",
            "--log-format xml",
            "--store-url a --store-url-file b",
        ] {
            let arguments = std::iter::once("adit-operator").chain(bad.split(' '));
            assert!(CommandLine::try_parse_from(arguments).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_variable_is_named_with_the_one_that_was_meant() {
        let set = |name: &str| (name.to_owned(), "x".to_owned());
        let found = unknown_variables(
            [set("ADIT_OPERATOR_NAMESPAC"), set("PATH"), set("ADIT_LOG"), set("ADIT_SERVICE_HOST")]
                .into_iter(),
        );
        assert_eq!(
            found,
            [
                "ADIT_OPERATOR_NAMESPAC: no Adit program reads this variable; did you mean ADIT_OPERATOR_NAMESPACE?"
            ]
        );
    }
}
