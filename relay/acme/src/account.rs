//! Accounts at CAs, sealed in the store and shared by all Certificates of the same CA, address and binding.

use crate::{
    client::Http, failure::Failure, issuer::Issuer, request::Request, retry::attempt, seal::seal, turn::turn,
};
use instant_acme::{Account, Error, ExternalAccountKey, NewAccount};

/// What accounts are sealed for.
const ACCOUNT_PURPOSE: &str = "acme account";

/// The account of a request, made if there is none.
pub(crate) async fn account(issuer: &Issuer, http: &Http, request: &Request) -> Result<Account, Failure> {
    let id = request.account_id(&issuer.keeper.public_text());
    if let Some(account) = kept_account(issuer, http, &id).await? {
        return Ok(account);
    }
    let turn = turn(&id);
    let _alone = turn.lock().await;
    if let Some(account) = kept_account(issuer, http, &id).await? {
        return Ok(account);
    }
    let made = make_account(issuer, http, request, &id).await?;
    // Another process may have been first: a certificate can be replaced only by the account that has asked for it.
    Ok(kept_account(issuer, http, &id).await?.unwrap_or(made))
}

async fn kept_account(issuer: &Issuer, http: &Http, id: &str) -> Result<Option<Account>, Failure> {
    let Some(sealed) = issuer.store.acme_account(id).await? else { return Ok(None) };
    let text = issuer.keeper.open(ACCOUNT_PURPOSE, &sealed)?;
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

async fn make_account(issuer: &Issuer, http: &Http, request: &Request, id: &str) -> Result<Account, Failure> {
    let keeper = issuer.keeper.public_text();
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
    let sealed = seal(&keeper, ACCOUNT_PURPOSE, &text)?;
    issuer.store.put_acme_account(id, Some(&sealed)).await?;
    Ok(account)
}
