//! The PROXY protocol, from trusted and from other addresses.

use crate::{
    fixture::{region, tls},
    relay_fixture::{HOST, RelayFixture},
};
use adit_testkit::http::Service;
use serde_json::Value;
use std::{io, net::SocketAddr};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

/// The load balancer's own address. Clients and other consumers come from 127.0.0.1, which is not trusted.
const BALANCER: &str = "127.0.0.2:0";

async fn from_balancer(to: SocketAddr, first: &[u8]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(BALANCER.parse().unwrap()).unwrap();
    let mut tcp = socket.connect(to).await.unwrap();
    tcp.write_all(first).await.unwrap();
    tcp
}

/// A header of version 2 with these addresses and so many bytes of TLVs.
fn v2(command: u8, family: u8, addresses: &[u8], tlvs: usize) -> Vec<u8> {
    let length = (addresses.len() + tlvs) as u16;
    let start = [b"\r\n\r\n\0\r\nQUIT\n", &[0x20 | command, family][..], &length.to_be_bytes()].concat();
    let noop =
        [&[4], &(tlvs.saturating_sub(3) as u16).to_be_bytes()[..], &vec![0; tlvs.saturating_sub(3)]].concat();
    [start, addresses.to_vec(), if tlvs > 0 { noop } else { vec![] }].concat()
}

const V4: [u8; 12] = [192, 0, 2, 7, 127, 0, 0, 1, 0x12, 0x34, 1, 187];

async fn ask(mut io: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<String> {
    let request = format!(
        "GET /request HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n"
    );
    io.write_all(request.as_bytes()).await?;
    io.flush().await?;
    let mut answer = vec![];
    tokio::time::timeout(std::time::Duration::from_secs(30), io.read_to_end(&mut answer)).await??;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn consumer(answer: &str) -> String {
    let body = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}")).1;
    let json: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer:?}"));
    let field = json["headers"].as_array().unwrap().iter().find(|field| field[0] == "x-forwarded-for");
    field.unwrap()[1].as_str().unwrap().to_owned()
}

/// A relay that trusts the load balancer.
async fn publish(service: &Service) -> RelayFixture {
    RelayFixture::publishing(
        region().with("proxyProtocol: {trustedCIDRs: ['127.0.0.2/32']}"),
        service.address(),
    )
    .await
}

#[tokio::test]
async fn a_trusted_balancer_says_who_the_consumer_is() {
    let service = Service::start().await;
    let fixture = publish(&service).await;
    let v6 = {
        let mut addresses = vec![0; 36];
        addresses[..2].copy_from_slice(&[0x20, 0x01]);
        addresses[15] = 9;
        addresses
    };
    let cases: [(Vec<u8>, &str); 8] = [
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 4660 443\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 4660 443\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.2"),
        (v2(1, 0x11, &V4, 0), "192.0.2.7"),
        (v2(1, 0x11, &V4, 2000), "192.0.2.7"),
        (v2(1, 0x21, &v6, 0), "2001::9"),
        // The balancer's own health checks.
        (v2(0, 0x11, &V4, 0), "127.0.0.2"),
        (v2(0, 0, &[], 0), "127.0.0.2"),
    ];
    for (header, expected) in cases {
        let tcp = from_balancer(fixture.relay.http(), &header).await;
        assert_eq!(consumer(&ask(tcp).await.unwrap()), expected, "{header:?}");
        let tcp = from_balancer(fixture.relay.https(), &header).await;
        let io = tls(&fixture.region.ca(), b"http/1.1", HOST, tcp).await.unwrap();
        assert_eq!(consumer(&ask(io).await.unwrap()), expected, "{header:?} before TLS");
    }
    // Whom nobody trusts is believed nothing.
    let tcp = TcpStream::connect(fixture.relay.http()).await.unwrap();
    assert_eq!(consumer(&ask(tcp).await.unwrap()), "127.0.0.1");
    let mut tcp = TcpStream::connect(fixture.relay.https()).await.unwrap();
    tcp.write_all(b"PROXY TCP4 192.0.2.7 127.0.0.1 4660 443\r\n").await.unwrap();
    assert!(tls(&fixture.region.ca(), b"http/1.1", HOST, tcp).await.is_err());
}

#[tokio::test]
async fn a_trusted_balancer_without_a_right_header_is_not_served() {
    let service = Service::start().await;
    let fixture = publish(&service).await;
    let mut long = v2(1, 0x11, &V4, 60_000);
    long.extend([0; 1000]);
    let cases: [&[u8]; 12] = [
        b"",
        b"PROXY TCP4 192.0.2.7 127.0.0.1 4660\r\n",
        b"PROXY TCP4 192.0.2.777 127.0.0.1 1 2\r\n",
        b"PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 127.0.0.1 99999 443\r\n",
        b"PROXY UDP4 192.0.2.7 127.0.0.1 1 2\r\n",
        b"proxy TCP4 192.0.2.7 127.0.0.1 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\r\n\r\n\0\r\nQUIT\n\x2f\x11\0\x0c\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x02\0\0",
        b"\r\n\r\n\0\r\nQUIT\n\x21\xff\0\x0c\0\0\0\0\0\0\0\0\0\0\0\0",
        &long,
    ];
    for header in cases {
        let start: Vec<u8> = header.iter().take(40).copied().collect();
        let tcp = from_balancer(fixture.relay.http(), header).await;
        let answer = ask(tcp).await;
        assert!(answer.as_ref().map_or(true, String::is_empty), "{start:?}: {answer:?}");
        let tcp = from_balancer(fixture.relay.https(), header).await;
        assert!(tls(&fixture.region.ca(), b"http/1.1", HOST, tcp).await.is_err(), "{start:?}");
    }
    assert_eq!(service.requests(), 0);
    fixture.assert_serves().await;
}

#[tokio::test]
async fn a_tcp_port_gets_what_follows_the_header() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fixture = RelayFixture::start(region().with("proxyProtocol: {trustedCIDRs: ['127.0.0.2/32']}"));
    let (_tunnel, port) = fixture.publish_tcp(listener.local_addr().unwrap()).await;
    let relay = &fixture.relay;
    let header = b"PROXY TCP4 192.0.2.7 127.0.0.1 4660 443\r\n";
    for (first, expected, trusted) in [
        ([&header[..], b"bytes"].concat(), b"bytes".to_vec(), true),
        ([&header[..], b"bytes"].concat(), [&header[..], b"bytes"].concat(), false),
    ] {
        let mut consumer = if trusted {
            from_balancer(relay.tcp(port), &first).await
        } else {
            let mut tcp = TcpStream::connect(relay.tcp(port)).await.unwrap();
            tcp.write_all(&first).await.unwrap();
            tcp
        };
        consumer.shutdown().await.unwrap();
        let (mut service, _) = listener.accept().await.unwrap();
        let mut bytes = vec![];
        service.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, expected);
    }
    let mut consumer = from_balancer(relay.tcp(port), b"no header at all, but bytes\r\n").await;
    assert!(matches!(consumer.read(&mut [0; 1]).await, Ok(0) | Err(_)));
}
