//! Accounts at CAs, sealed in the store and shared by all certificates of the same CA, email and binding.

use crate::{
    account_lock::account_lock, client::Http, error::IssueError, issuer::Issuer, request::Request,
    retry::attempt, seal::seal,
};
use instant_acme::{Account, Error, ExternalAccountKey, NewAccount};

/// The purpose that accounts are sealed for.
const ACCOUNT_PURPOSE: &str = "acme account";

/// The account of a request; created if there is none.
pub(crate) async fn account(issuer: &Issuer, http: &Http, request: &Request) -> Result<Account, IssueError> {
    let id = request.account_id(&issuer.operator_key.public_text());
    if let Some(account) = load_account(issuer, http, &id).await? {
        return Ok(account);
    }
    let lock = account_lock(&id);
    let _guard = lock.lock().await;
    if let Some(account) = load_account(issuer, http, &id).await? {
        return Ok(account);
    }
    let created = create_account(issuer, http, request, &id).await?;
    // Another process may have been first, and only the account that ordered a certificate can replace it.
    Ok(load_account(issuer, http, &id).await?.unwrap_or(created))
}

async fn load_account(issuer: &Issuer, http: &Http, id: &str) -> Result<Option<Account>, IssueError> {
    let Some(sealed) = issuer.store.acme_account(id).await? else { return Ok(None) };
    let text = issuer.operator_key.open(ACCOUNT_PURPOSE, &sealed)?;
    let read = || serde_json::from_slice(&text).map_err(Error::Json);
    let account = attempt!(
        1,
        match read() {
            Ok(credentials) =>
                Account::builder_with_http(Box::new(http.clone())).from_credentials(credentials).await,
            Err(error) => Err(error),
        }
    )?;
    Ok(Some(account))
}

async fn create_account(
    issuer: &Issuer,
    http: &Http,
    request: &Request,
    id: &str,
) -> Result<Account, IssueError> {
    let operator_key = issuer.operator_key.public_text();
    let builder = || Account::builder_with_http(Box::new(http.clone()));
    let email = request.ca.email.as_ref().map(|email| format!("mailto:{email}"));
    let contact: Vec<&str> = email.iter().map(String::as_str).collect();
    let account =
        NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let binding = request.ca.binding.as_ref();
    let binding = binding.map(|binding| ExternalAccountKey::new(binding.key_id.clone(), &binding.key));
    let directory = &request.ca.directory;
    let (account, credentials) =
        attempt!(1, builder().create(&account, directory.clone(), binding.as_ref()).await)?;
    let text = serde_json::to_vec(&credentials).map_err(Error::Json)?;
    let sealed = seal(&operator_key, ACCOUNT_PURPOSE, &text)?;
    issuer.store.put_acme_account(id, Some(&sealed)).await?;
    Ok(account)
}
