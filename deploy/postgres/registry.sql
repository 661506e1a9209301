-- At the first start of an empty server: the registry's login, which is not a superuser, and its database.
\set ON_ERROR_STOP on
\getenv password REGISTRY_LOGIN_PASSWORD
CREATE ROLE registry_owner LOGIN CREATEROLE PASSWORD :'password';
CREATE DATABASE registry OWNER registry_owner TEMPLATE template0 ENCODING 'UTF8';
