use super::*;
use hickory_proto::rr::{TSigResponseContext, TSigner, rdata::SOA};
use tokio::net::TcpListener;

/// How a fake name server signs its answers to updates.
#[derive(Clone, Copy)]
enum Signature {
    Right,
    OfAnotherKey,
    OfAnotherRequest,
    Missing,
}

fn key(byte: u8) -> TsigKey {
    use base64::{Engine, prelude::BASE64_STANDARD};
    TsigKey::new("adit", &BASE64_STANDARD.encode([byte; 32])).unwrap()
}

fn sign(answer: &mut Message, request: &Message, signature: Signature) {
    let mac = request.signature.as_ref().unwrap().data.mac.clone();
    let (signer, mac): (TSigner, _) = match signature {
        Signature::Right => (key(1).signer, mac),
        Signature::OfAnotherKey => (key(2).signer, mac),
        Signature::OfAnotherRequest => (key(1).signer, vec![7; 32]),
        Signature::Missing => return,
    };
    let context = TSigResponseContext::new(request.id, clock::now(), signer, mac, None);
    let record = context.sign(&answer.to_vec().unwrap()).unwrap();
    answer.set_signature(record);
}

/// A name server for example.test that answers one query for its SOA by UDP, truncated, and the rest by TCP.
async fn name_server(signature: Signature) -> Server {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        loop {
            let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
            let request = Message::from_vec(&buffer[..length]).unwrap();
            let mut answer = request.into_response();
            answer.metadata.truncation = true;
            // The records of a truncated message may end in the middle.
            let mut bytes = answer.to_vec().unwrap();
            bytes[7] = 1;
            bytes.extend([1, b'x']);
            udp.send_to(&bytes, from).await.unwrap();
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut bytes = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut bytes).await.unwrap();
            let request = Message::from_vec(&bytes).unwrap();
            let mut answer = Message::response(request.id, request.op_code);
            let asked = request.queries[0].clone();
            answer.add_query(asked.clone());
            if request.signature.is_some() {
                sign(&mut answer, &request, signature);
            } else if name_text(asked.name()) == "example.test" {
                let zone = asked.name().clone();
                let soa = SOA::new(zone.clone(), zone.clone(), 1, 1, 1, 1, 1);
                answer.metadata.authoritative = true;
                answer.add_answer(Record::from_rdata(zone, 1, RData::SOA(soa)));
            } else {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            let bytes = answer.to_vec().unwrap();
            stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        }
    });
    Server::new(&address.to_string())
}

#[tokio::test]
async fn an_update_counts_only_if_its_answer_is_signed() {
    let update = async |signature| {
        let server = name_server(signature).await;
        server.update(&key(1), "_acme-challenge.a.example.test", "text", true).await
    };
    update(Signature::Right).await.unwrap();
    for signature in [Signature::OfAnotherKey, Signature::OfAnotherRequest, Signature::Missing] {
        let error = update(signature).await.unwrap_err();
        assert!(matches!(error, DnsError::Unverified { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_name_without_a_zone_is_told_from_one_that_does_not_exist() {
    let server = name_server(Signature::Right).await;
    let error = server.update(&key(1), "_acme-challenge.example.org", "text", true).await.unwrap_err();
    assert!(matches!(error, DnsError::NoZone { .. }), "{error:?}");
    let error = server.lookup("a.example.test", RecordType::TXT).await.unwrap_err();
    assert!(error.is_nonexistent());
    assert!(error.to_string().ends_with("answered NXDOMAIN for a.example.test"), "{error}");
}

#[test]
fn a_server_has_port_53_unless_it_says_another() {
    for (text, address) in [
        ("192.0.2.1", "192.0.2.1:53"),
        ("192.0.2.1:54", "192.0.2.1:54"),
        ("2001:db8::1", "[2001:db8::1]:53"),
        ("[2001:db8::1]:54", "[2001:db8::1]:54"),
        ("ns.example.com", "ns.example.com:53"),
        ("ns.example.com:54", "ns.example.com:54"),
    ] {
        assert_eq!(Server::new(text).0, address);
    }
}
