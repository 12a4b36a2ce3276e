//! Converts a Complaint to what the store keeps of it. Pure.

use super::convert;
use adit_api::{
    Complaint,
    complaint::{Against, Category, DECIDED_BY_ANNOTATION, REASON_ANNOTATION, Reporter},
};
use adit_store::{Filing, InvalidSubject, Subject};
use kube::ResourceExt;

/// What a Complaint is about, as it was written.
pub(super) fn against(complaint: &Complaint) -> &str {
    match &complaint.spec.against {
        Against::Url(text) | Against::Hostname(text) | Against::Account(text) => text,
    }
}

/// A Complaint as the store keeps it.
///
/// # Errors
/// [`InvalidSubject`] if `spec.against` names neither a tunnel nor an account.
pub(super) fn filing(complaint: &Complaint) -> Result<Filing, InvalidSubject> {
    let spec = &complaint.spec;
    let subject = match &spec.against {
        Against::Url(url) => Subject::of_url(url)?,
        Against::Hostname(hostname) => Subject::of_hostname(hostname)?,
        Against::Account(account) => Subject::of_account(account)?,
    };
    let name = complaint.name_any();
    Ok(Filing {
        id: complaint.metadata.uid.clone().unwrap_or_default(),
        source: format!("{}/{name}", complaint.namespace().unwrap_or_default()),
        name,
        subject,
        against: against(complaint).to_owned(),
        category: category(spec.category).to_owned(),
        description: spec.description.clone().unwrap_or_default(),
        reporter: spec.reporter.as_ref().map_or(String::new(), reporter),
        evidence: spec.evidence.clone(),
        decision: convert::decision(spec.decision),
        scope: convert::scope(spec.scope),
        until: spec.until.as_ref().map(|until| u64::try_from(until.0.as_second()).unwrap_or(0)),
        by: decided_by(complaint),
        why: complaint.annotations().get(REASON_ANNOTATION).cloned().unwrap_or_default(),
    })
}

fn category(category: Category) -> &'static str {
    match category {
        Category::Phishing => "Phishing",
        Category::Malware => "Malware",
        Category::Spam => "Spam",
        Category::Copyright => "Copyright",
        Category::Illegal => "Illegal",
        Category::Other => "Other",
    }
}

fn reporter(reporter: &Reporter) -> String {
    match (&reporter.name, &reporter.email) {
        (Some(name), Some(email)) => format!("{name} <{email}>"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => String::new(),
    }
}

/// Who decided: the value of the annotation, else the field manager that wrote `spec.decision` last.
pub(super) fn decided_by(complaint: &Complaint) -> String {
    if let Some(who) = complaint.annotations().get(DECIDED_BY_ANNOTATION) {
        return who.clone();
    }
    let owns = |entry: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        fields.is_some_and(|fields| fields["f:spec"]["f:decision"].is_object())
    };
    let newest = complaint.managed_fields().iter().filter(owns).max_by_key(|entry| entry.time.clone());
    newest.and_then(|entry| entry.manager.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_complaint_is_filed_with_who_decided_it() {
        let mut object = json!({
            "apiVersion": "adit.dev/v1alpha1", "kind": "Complaint",
            "metadata": {"name": "cpl-7f3k", "namespace": "tunnels", "uid": "u-1", "managedFields": [
                {"manager": "kubectl-create", "time": "2026-11-21T10:00:00Z", "fieldsV1": {"f:spec": {"f:decision": {}}}},
                {"manager": "kubectl-patch", "time": "2026-11-21T11:00:00Z", "fieldsV1": {"f:spec": {"f:decision": {}}}},
                {"manager": "other", "time": "2026-11-21T12:00:00Z", "fieldsV1": {"f:spec": {"f:until": {}}}},
            ]},
            "spec": {"against": {"url": "https://Login-Bank.eu.example.com/verify"}, "category": "Phishing",
                "reporter": {"name": "Ana", "email": "ana@bank.example"}, "decision": "Acknowledged",
                "until": "2027-01-01T00:00:00Z"},
        });
        let read = |object: &serde_json::Value| filing(&serde_json::from_value(object.clone()).unwrap());
        let filed = read(&object).unwrap();
        assert_eq!(filed.subject, Subject::Host("login-bank.eu.example.com".to_owned()));
        assert_eq!((filed.id.as_str(), filed.source.as_str()), ("u-1", "tunnels/cpl-7f3k"));
        assert_eq!((filed.by.as_str(), filed.until), ("kubectl-patch", Some(1_798_761_600)));
        assert_eq!(filed.reporter, "Ana <ana@bank.example>");
        object["metadata"]["annotations"] =
            json!({"adit.dev/decided-by": "ana", "adit.dev/reason": "a copy"});
        let filed = read(&object).unwrap();
        assert_eq!((filed.by.as_str(), filed.why.as_str()), ("ana", "a copy"));
        object["spec"]["against"] = json!({"url": "https:///x"});
        assert!(read(&object).is_err());
    }
}
