//! Who a client is: tokens, credentials, tickets and the keys behind them.
