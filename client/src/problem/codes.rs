//! The table of codes.

/// The meaning of a code.
#[derive(Debug)]
pub struct Explanation {
    /// The code.
    pub code: &'static str,
    /// The HTTP status that means the same.
    pub status: u16,
    /// The code with which the command ends if this ends it: 1 to 7.
    pub exit_code: u8,
    /// What happened: the first text of which all `{facts}` are known. The last needs none.
    pub what: &'static [&'static str],
    /// Why, chosen likewise; an empty text says that there is nothing to add. Where none fits, the relay's words do.
    pub why: &'static [&'static str],
    /// What to do next, chosen likewise.
    pub next: &'static [&'static str],
    /// The text of `adit help CODE`: when the code comes, and what helps.
    pub about: &'static str,
}

/// For codes that this version does not know.
pub(super) const OTHER: Explanation =
    Explanation { code: "", status: 500, exit_code: 1, what: &["{message}"], why: &[], next: &[], about: "" };

macro_rules! codes {
    ($($code:literal $status:literal $exit:literal
        what [$($what:literal),*] why [$($why:literal),*] next [$($next:literal),*] $about:literal)*) => {
        /// Every code that this version knows, in alphabetical order.
        pub const CODES: &[Explanation] = &[$(Explanation {
            code: $code,
            status: $status,
            exit_code: $exit,
            what: &[$($what),*],
            why: &[$($why),*],
            next: &[$($next),*],
            about: $about,
        },)*];
    };
}

codes! {
    "already_open" 409 4
        what ["{service} has a tunnel already: {url}", "{service} has a tunnel already", "this service has a tunnel already"]
        why ["process {pid} serves it", "another client of yours serves it"]
        next ["adit status {port}; or add --force for another tunnel", "adit status; or add --force for another tunnel"]
        "Another running client of this user publishes the same local service. Two tunnels to one service are rarely \
         meant; --force opens the second."
    "bad_hello" 400 1
        what ["{region} does not understand this client", "the relay does not understand this client"]
        why []
        next ["upgrade adit on the older side: the client is {version}", "upgrade adit on the older side"]
        "The first message of a session breaks a rule of the protocol. Client and relay are probably of versions that \
         do not fit, or something between them changes the bytes."
    "bad_request" 400 1
        what ["the request breaks a rule of HTTP"]
        why []
        next ["correct the consumer's request: the relay's access log names it"]
        "A consumer's request was refused with status 400 because it breaks a rule of HTTP, or because programs could \
         read it in two ways."
    "body_too_large" 413 4
        what ["a body is larger than the {limit} bytes that the account may send", "a body is larger than the account may send"]
        why []
        next ["send less at once, or ask the provider for a higher limit"]
        "A consumer's request was refused with status 413: its body is larger than limits.bodyBytes of the region."
    "buffer_full" 429 4
        what ["more than {limit} bytes wait for slow readers; {refused} streams were reset", "more bytes wait for slow readers than the account may have"]
        why []
        next ["read answers faster, or ask the provider for a higher limit"]
        "Consumers read slower than the service sends, or the service slower than consumers send: what waits in the relay \
         passed limits.bufferBytes of the region, and the stream with most of it was reset. The others go on."
    "ca_unknown" 526 2
        what ["cannot verify {host}", "cannot verify the relay"]
        why ["its certificate comes from \"{issuer}\", which {ca} does not hold", "its certificate comes from \"{issuer}\"",
             "its certificate comes from an authority that this computer does not trust"]
        next ["replace {ca} by the relay's own ca.pem; adit-relay prints its path when it starts",
              "add --ca FILE; adit-relay prints the path when it starts"]
        "The relay's certificate is not signed by an authority that this computer trusts. A relay without a certificate \
         of its own serves one of a development CA: pass that CA's file with --ca. If the relay should have a public \
         certificate, something between here and there may be reading along: do not go on."
    "certificate_invalid" 526 7
        what ["cannot verify {host}", "cannot verify the relay"]
        why []
        next ["leave out \"connect.\": --relay {shorter}", "compare --relay with the region's domain, and this computer's clock with the time"]
        "The relay's certificate is signed by a trusted authority, but it has expired, is not valid yet, or is for \
         another name."
    "clock_skew" 401 3
        what ["this computer's clock is {skew}", "the token is not valid yet"]
        why ["the relay's clock says {relayTime} UTC; here it is {localTime} UTC",
             "it starts at {notBefore} UTC; the relay's clock says {now} UTC",
             "it starts later than the relay's clock says"]
        next ["{fix}", "set the clock of the computer that made the token: sudo timedatectl set-ntp true"]
        "The token is not valid yet by the relay's clock. Tokens carry times, so clocks have to agree within a minute: \
         that of the computer where the token was made, and the relay's."
    "config_invalid" 422 2
        what ["{file} is not valid", "the configuration is not valid"]
        why []
        next ["{usage}", "correct it, then: adit check"]
        "A configuration file, a flag or an environment variable breaks a rule. All errors are shown at once, each with \
         its field, value and rule; nothing was started or changed."
    "credential_expired" 401 3
        what ["{region} refused the credential", "the relay refused the credential"]
        why ["it has expired"]
        next ["on the relay's machine: {tokenCommand}", "get a fresh token from your provider, as you got this one"]
        "What the relay gave for the token has expired, and renewing it takes a fresh token. --token-command gets one \
         each time that it is needed."
    "credential_invalid" 401 3
        what ["{region} refused the credential", "the relay refused the credential"]
        why ["it was not sealed by this region"]
        next ["on the relay's machine: {tokenCommand}", "get a fresh token from your provider, as you got this one"]
        "What an earlier relay gave for the token is of no use here: the region's key has changed, or the relays of one \
         region have different keys (keys.region in relay.yaml)."
    "dns_elsewhere" 421 2
        what ["{domain} does not point here", "the domain does not point here"]
        why ["DNS says {found}; this region is {address}"]
        next ["set  {domain}.  A  {address}", "set the DNS record of the region's names to its address"]
        "The DNS record of the region's names leads to another address, so consumers do not reach it."
    "draining" 503 7
        what ["the relay goes away"]
        why []
        next ["nothing: the client moves by itself"]
        "The relay ends its work and has asked its clients to move. A client opens a session with another relay first, so \
         consumers notice nothing."
    "environment_unknown" 422 2
        what ["{variable} is not a variable of Adit", "an ADIT_ variable is not one of Adit's"]
        why ["did you mean {nearest}?"]
        next ["unset {variable}", "unset it, or correct its name"]
        "A variable whose name begins with ADIT_ is not known to any Adit program: a typing error would otherwise be \
         silently without effect. Variables that Kubernetes sets for services (ADIT_PORT, ADIT_SERVICE_HOST, ...) are \
         ignored."
    "events_dropped" 503 1
        what ["{count} events were not read in time", "events were not read in time"]
        why ["their reader is too slow; no request waits for it"]
        next ["read stdout faster, for example into a file"]
        "Events are dropped rather than kept without end when the reader of --json is slower than they come. Those of \
         requests are dropped first; the tunnels go on."
    "headers_too_large" 431 1
        what ["the request's headers are larger than the relay reads"]
        why []
        next ["send fewer or shorter headers, cookies among them"]
        "A consumer's request was refused with status 431: too many headers, or too long ones."
    "internal" 500 1
        what ["something unexpected failed"]
        why []
        next ["try again with -v; if it stays, report it with the output"]
        "An error that should not happen: a fault of Adit, or of the system that it runs on."
    "kind_not_allowed" 403 4
        what ["{region} does not open {kind} tunnels for this token", "the token does not allow {kind} tunnels", "this kind of tunnel is not allowed"]
        why []
        next ["ask for a token with the kinds http and tcp: adit-relay token --account NAME --kinds http,tcp > token"]
        "The token does not allow this kind of tunnel, or the region does not offer it: TCP tunnels need tcpPorts in the \
         relay's configuration and kinds with \"tcp\" in the token."
    "misdirected" 421 1
        what ["the request's host is not the one that its connection was opened for"]
        why []
        next ["open a connection for each host: browsers do"]
        "A consumer's request was refused with status 421: its Host differs from the TLS server name. Browsers open a \
         connection of their own then and try again."
    "name_invalid" 422 2
        what ["the name \"{name}\" cannot be used", "the name cannot be used"]
        why ["{rule}", "a name has 1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends"]
        next ["choose another --name, or leave it out for a random one"]
        "A tunnel's name becomes the first part of a host name, so it follows the rules of DNS labels."
    "name_not_allowed" 403 4
        what ["the token does not allow the name \"{name}\"", "the token does not allow this name"]
        why []
        next ["choose a --name that the token allows, or ask for another token"]
        "The token names the names that it may be used for, and this is not among them."
    "name_reserved" 409 4
        what ["the name \"{name}\" is reserved", "the name is reserved"]
        why ["people and programs give it a meaning of its own"]
        next ["choose another --name, or leave it out for a random one"]
        "Names such as www, mail or connect are nobody's, because people or programs trust them."
    "name_taken" 409 4
        what ["the name \"{name}\" belongs to another account", "the name belongs to another account"]
        why [""]
        next ["choose another --name, or leave it out for a random one"]
        "Names belong to the account that first used them, and for seven days after its last session. --any-name takes a \
         random name rather than end."
    "not_a_relay" 502 7
        what ["{host} does not speak Adit's protocol", "no relay answers there"]
        why []
        next ["compare --relay with the region's domain; a proxy that ends TLS must pass the ALPN name adit/1 on"]
        "Something answers at the relay's address, but it is not an Adit relay: another server, or a proxy or load \
         balancer that ends TLS itself."
    "overloaded" 503 7
        what ["{region} has no room for another session now", "the relay has no room for another session now"]
        why []
        next ["nothing: the client tries again by itself"]
        "The relay holds as many sessions as it can. The client tries again, and other relays of the region may have room."
    "paused" 503 1
        what ["the tunnel is paused"]
        why []
        next ["press p in the client to resume"]
        "The client's user has paused the tunnel; consumers get 503."
    "port_unavailable" 409 4
        what ["the port {port} cannot be had", "no TCP port can be had"]
        why ["{message}", "it is taken, or not one of the region's ports"]
        next ["choose another --port, or leave it out for any"]
        "TCP tunnels get a port of the range that the region's tcpPorts names. Each port belongs to one account at a time."
    "possession_failed" 401 3
        what ["{region} refused the credential", "the relay refused the credential"]
        why ["it is bound to another key"]
        next ["on the relay's machine: {tokenCommand}", "get a fresh token from your provider, as you got this one"]
        "A credential works only together with the client's own key, on the connection that was opened with it. A copied \
         credential is of no use; neither is one through a proxy that ends TLS."
    "protocol_error" 502 1
        what ["{region} broke the protocol", "the other side broke the protocol"]
        why []
        next ["upgrade adit on the older side: the client is {version}", "upgrade adit on the older side"]
        "A message that is against the rules of the protocol arrived: versions that do not fit, or a fault of Adit."
    "rate_limited" 429 4
        what ["{limit} requests/s reached; {refused} consumers got 429", "{limit} requests/s reached", "requests came faster than the account may have them"]
        why []
        next ["ask the provider for a higher limit"]
        "Consumers get status 429 once the account's requests a second (limits.requestsPerSecond) are used up."
    "registry_unavailable" 503 7
        what ["{region} cannot open new tunnels now", "the region cannot open new tunnels now"]
        why ["its registry cannot be reached"]
        next ["nothing: the client tries again by itself"]
        "The region's Redis is away. Tunnels that are open go on; new ones wait until it is back, and the client tries again."
    "relay_unreachable" 504 7
        what ["cannot reach {host}", "cannot reach the relay"]
        why []
        next ["compare --relay with the region's domain; try: curl -v https://{host}/", "compare --relay with the region's domain"]
        "No relay answered within the time that --give-up-after allows: the name cannot be resolved, the network is away, \
         or a firewall does not let connections out."
    "replaced" 409 4
        what ["another client of this account has taken {url} over", "another client of this account has taken the tunnel over"]
        why ["of two clients with one name the newest wins"]
        next ["stop one of them, or give each a --name of its own"]
        "The same account opened the same name with another client. The older one ends and does not reconnect, so that the \
         two do not fight over the name."
    "service_down" 502 1
        what ["{service} does not accept connections", "the service does not accept connections"]
        why []
        next ["start the service: the client notices"]
        "The tunnel works, but the local service behind it does not answer: consumers get 502. The client goes on and \
         notices when the service is back."
    "service_protocol" 502 1
        what ["{service} does not answer with HTTP", "the service does not answer with HTTP"]
        why []
        next ["use {url}", "write https:// or h2c:// before the service's address if it speaks that, or use adit tcp"]
        "The local service answered with bytes that are not HTTP. It may speak TLS or HTTP/2 in clear: say so with https:// \
         or h2c:// before its address."
    "service_timeout" 504 1
        what ["{service} did not answer in time", "the service did not answer in time"]
        why []
        next ["make the service answer sooner, or ask the provider for a longer limits.responseTimeout"]
        "The local service took the request, but its answer did not begin within limits.responseTimeout of the region."
    "session_lost" 502 7
        what ["the session was lost before the answer began"]
        why []
        next ["send the request again if it may be handled twice"]
        "The connection between client and relay broke while a request was under way that cannot safely be sent twice; its \
         consumer got 502."
    "state_unwritable" 500 2
        what ["the credential cannot be kept in {folder}", "the credential cannot be kept"]
        why ["{message}; the token works once, and would be spent"]
        next ["make the folder writable, or set XDG_STATE_HOME to one that is"]
        "The relay gives a credential for the token, which the next start needs. Nothing was sent: the token is good still. \
         With --token-command each start gets a token of its own, and nothing has to be kept."
    "store_unavailable" 503 7
        what ["{region} cannot grant new names now", "the region cannot grant new names now"]
        why ["its store cannot be reached"]
        next ["nothing: the client tries again by itself"]
        "The region's database is away. Tunnels that are open go on; new names wait until it is back, and the client tries \
         again."
    "suspended" 403 5
        what ["account {account} is suspended until {until}", "account {account} is suspended", "\"{name}\" is suspended",
              "the account is suspended"]
        why ["{reason}, complaint {complaint}", "{reason}"]
        next ["write to {abuse} and name the complaint", "write to the provider"]
        "The provider has taken the account offline, in every region. Only the provider can lift it."
    "token_algorithm" 401 3
        what ["{region} refused the token", "the relay refused the token"]
        why ["it is signed with an algorithm that its issuer does not use"]
        next ["get a token that the region's issuer has signed"]
        "The token's header names an algorithm that the region does not accept for this issuer; `none` never is."
    "token_audience" 401 3
        what ["{region} refused the token", "the relay refused the token"]
        why ["it was made for \"{audience}\"", "it was made for another region"]
        next ["get a token of {region}, or use --relay with the region that it was made for", "get a token of this region"]
        "A token is good for one audience: the region's domain, or what access.tokens.issuers names."
    "token_claims" 401 3
        what ["{region} refused the token", "the relay refused the token"]
        why ["a claim is missing or has the wrong type"]
        next ["get a token with iss, sub, aud and exp"]
        "A token needs iss, sub, aud and exp; `adit`, if it is there, has names, kinds and limits."
    "token_command" 500 3
        what ["the token command failed"]
        why ["{message}: {lastLine}", "{message}"]
        next ["run the command by hand: it has to print a token, and nothing else, on stdout"]
        "The command of --token-command has to print a token on its standard output and end with 0 within 30 s."
    "token_expired" 401 3
        what ["{region} refused the token", "the relay refused the token"]
        why ["it expired at {expired} UTC", "it has expired"]
        next ["on the relay's machine: {tokenCommand}", "get a fresh token from your provider, as you got this one"]
        "Tokens of the provider live for 15 minutes and are exchanged for a credential when the client starts. \
         Standalone: adit-relay token --account NAME > token. On Kubernetes: kubectl adit token --account NAME > \
         token. For programs: --token-command."
    "token_file" 500 3
        what ["cannot read the token file {file}", "cannot read the token file"]
        why []
        next ["check the path of --token-file; a token is one line of text"]
        "The file of --token-file cannot be read, is empty, is too large, or holds more than one line."
    "token_issuer" 401 3
        what ["{region} refused the token", "the relay refused the token"]
        why ["it comes from \"{issuer}\", which this region does not trust", "it comes from an issuer that this region does not trust"]
        next ["on the relay's machine: {tokenCommand}", "get a token from {issuers}", "get a token from the region's own provider"]
        "The region accepts tokens of its own and of the issuers in its configuration, and this is of neither."
    "token_malformed" 401 3
        what ["{region} refused the token", "the token cannot be used"]
        why ["{message}", "it is not a JWT, or it is cut short"]
        next ["copy the whole token, in one line; or get a fresh one from your provider"]
        "A token is three parts of base64url with dots between them, in one line. Something else is in the file or variable."
    "token_missing" 401 3
        what ["no token"]
        why ["{region} has to know whose tunnel this is", "the relay has to know whose tunnel this is"]
        next ["get a token from your provider, and add --token-file FILE"]
        "A client shows who it is with a token: from --token-file, --token-command, ADIT_TOKEN, or the file `token` \
         beside adit.yaml. Standalone: adit-relay token --account NAME > token. On Kubernetes: kubectl adit token \
         --account NAME > token."
    "token_signature" 401 3
        what ["{region} refused the token", "the relay refused the token"]
        why ["it is signed with a key that this region does not know"]
        next ["on the relay's machine: {tokenCommand}", "get a token from this region's provider"]
        "The token was made for another provider, or the region's signing key has changed. Standalone: adit-relay \
         token --account NAME > token. On Kubernetes: kubectl adit token --account NAME > token."
    "token_used" 401 3
        what ["{region} refused the token", "the relay refused the token"]
        why ["a token works once, and this one was used before"]
        next ["on the relay's machine: {tokenCommand}", "get a fresh token from your provider, as you got this one"]
        "A token of the provider is good for one start of one client, so that a stolen copy is of no use. \
         Standalone: adit-relay token --account NAME > token. On Kubernetes: kubectl adit token --account NAME > \
         token. For programs: --token-command."
    "too_many_names" 429 4
        what ["the account has {limit} names already", "the account has as many names as it may"]
        why []
        next ["use one of your names again; unused ones come free after seven days"]
        "An account may hold so many names at once (limits.names), those that it used within the last seven days included."
    "too_many_sessions" 429 4
        what ["the account has {limit} sessions already", "the account has as many sessions as it may"]
        why []
        next ["adit status; stop a client that you do not need"]
        "An account may hold so many sessions at once (limits.sessions). A client holds up to four: two with each of two \
         relays."
    "too_many_streams" 503 4
        what ["{limit} requests at once reached", "as many requests at once as there may be"]
        why []
        next ["ask the provider for a higher limit"]
        "Consumers get 503 while the account's requests and connections at once (limits.streams) are all in use."
    "too_many_tunnels" 429 4
        what ["the account has {limit} tunnels already", "the account has as many tunnels as it may"]
        why []
        next ["adit status; stop a tunnel that you do not need"]
        "An account may have so many tunnels open at once (limits.tunnels)."
    "tunnel_offline" 503 7
        what ["the tunnel is not connected right now"]
        why []
        next ["on the client's machine, adit status"]
        "Consumers get 503: the address belongs to a tunnel, but no client serves it at the moment."
    "unknown" 500 1
        what ["the relay has a reason that this adit does not know"]
        why []
        next ["get a newer adit from your provider"]
        "A newer relay sent a code that this version of adit does not know. The relay's own words say more."
    "unknown_host" 404 1
        what ["nothing is published at this address"]
        why []
        next ["compare the address with the URL that adit status shows"]
        "Consumers get 404: no tunnel has this address."
    "upgrade_required" 426 6
        what ["adit {version} is too old for {region}", "this adit is too old for the relay"]
        why ["the relay needs {leastVersion} or later"]
        next ["get adit {leastVersion} or later from your provider", "get a newer adit from your provider"]
        "The region's access.minimumClientVersion is higher than this client's version."
    "usage" 422 2
        what ["{message}", "bad command line"]
        why ["{tip}"]
        next ["{usage}", "adit --help"]
        "The command line breaks a rule: an unknown flag or command, or a value that cannot be."
}
